"""`nexeon tui`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nexeon.cli.options import config_option, given, remote_options

if TYPE_CHECKING:
    from nexeon.gateway.explain import Explainer
    from nexeon.store.records import ProviderKey


@click.command("tui")
@config_option
@remote_options
def command() -> None:
    """Open the admin terminal: beside a running gateway, on the store itself, or far away.

    \b
    nexeon tui
    nexeon tui -c gateway.yaml -c mine.yaml
    NEXEON_ADMIN_TOKEN=… nexeon tui --url https://gateway.example
    """
    from nexeon.admin.client import AdminClient, connect, connect_http

    options = given()
    if options.url:
        far = connect_http(options.url, options.token, actor="tui")

        async def client() -> AdminClient:
            return far

    else:
        config = options.config()

        async def tried(key: ProviderKey, secret: str) -> dict[str, Any]:
            from nexeon.gateway.probe import probe  # slow to import, and seldom asked for

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
                actor="tui",
                probe=tried,
                explain=explained,
            )

    from tui.app import run

    run(client)
