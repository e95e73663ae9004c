"""`nexeon tui`"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from nexeon.cli.options import Given, config_option, given, remote_options
from nexeon.cli.session import erase
from nexeon.errors import AdminError

if TYPE_CHECKING:
    from nexeon.gateway.explain import Explainer
    from nexeon.store.records import ProviderKey

_TOKEN: Final = "NEXEON_ADMIN_TOKEN"
_UNABLE: Final = ("dumb", "unknown")


@click.command("tui")
@config_option
@remote_options
@click.option("--web", is_flag=True, help="Serve it to browsers, behind the admin token.")
@click.option("--host", default="127.0.0.1", show_default=True, help="With --web: the address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    metavar="P",
    help="With --web: the port to listen on; 0 takes a free one.",
)
def command(web: bool, host: str, port: int) -> None:
    """Open the admin terminal: beside a running gateway, on the store itself, or far away.

    \b
    nexeon tui
    nexeon tui -c gateway.yaml -c mine.yaml
    NEXEON_ADMIN_TOKEN=… nexeon tui --url https://gateway.example
    NEXEON_ADMIN_TOKEN=… nexeon tui --web --port 8000

    Keys: 1 to 8 are the screens, ? tells the keys of the one in front, ctrl+p finds everything, q goes back. Where
    there is no account yet, the first steps are shown. NO_COLOR is heeded.

    --web asks each browser for the admin token: that of NEXEON_ADMIN_TOKEN, else `admin.http.token` of the
    configuration. In front of other machines, put something that ends TLS before it.
    """
    if web:
        _serve(given(), host, port)
    else:
        _open(given())


def on_terminal() -> bool:
    """Whether keys can be typed and screens shown: here, or in the browser that textual-serve shows this to."""
    return os.environ.get("TERM_PROGRAM") == "textual" or (sys.stdin.isatty() and sys.stdout.isatty())


def _open(options: Given) -> None:
    if not on_terminal():
        raise AdminError("the admin terminal needs a terminal: here are commands (nexeon --help), or --web")
    if os.environ.get("TERM") in _UNABLE and os.environ.get("TERM_PROGRAM") != "textual":
        raise AdminError(
            f"TERM={os.environ['TERM']} says that nothing can be drawn here: set TERM to what this terminal is, "
            "or use the commands (nexeon --help), or --web"
        )
    from nexeon.admin.client import AdminClient, connect, connect_http

    # what textual-serve starts is another one than what a person did
    actor = "web" if os.environ.get("TERM_PROGRAM") == "textual" else "tui"
    if options.url:
        far = connect_http(options.url, options.token, actor=actor)

        async def client() -> AdminClient:
            return far

    else:
        config = options.config()

        async def tried(key: ProviderKey, secret: str) -> dict[str, Any]:
            from nexeon.gateway.pool.probe import probe  # slow to import, and seldom asked for

            return await probe(config)(key, secret)

        made: list[Explainer] = []

        def explained(**asked: Any) -> list[dict[str, Any]]:
            from nexeon.gateway.explain import Explainer

            made[:] = made or [Explainer(config)]
            return made[0](**asked)

        async def client() -> AdminClient:
            return await connect(
                config.store.url,
                socket=config.admin.socket,
                config=config,
                actor=actor,
                probe=tried,
                explain=explained,
                erase=erase,
            )

    # How long Textual waits after an Escape for the rest of an arrow key: it has 100 ms, which are felt.
    os.environ.setdefault("ESCDELAY", "10")
    from tui.app import run

    run(client)


def _serve(options: Given, host: str, port: int) -> None:
    try:
        from tui.web.server import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("textual_serve", "aiohttp_jinja2"):
            raise
        raise AdminError("the terminal in a browser needs the extra `web`: pip install 'nexeon[web]'") from None
    token = options.token or ("" if options.url else options.config().admin.token or "")
    if not token:
        raise AdminError(
            f"the terminal in a browser is behind the admin token: give it in {_TOKEN}, or set admin.http.token"
        )
    command = [sys.executable, "-m", "nexeon.cli", "tui"]
    command += [word for file in options.files for word in ("-c", str(file.absolute()))]
    if options.url:
        command += ["--url", options.url]
        os.environ[_TOKEN] = token  # not in the command line, which other users can see

    def listening(url: str) -> None:
        click.echo(f"the admin terminal is at {url}: open it in a browser, and give the admin token")

    serve(shlex.join(command), token, host=host, port=port, listening=listening)
