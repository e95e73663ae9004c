"""`nexeon serve`"""

from __future__ import annotations

import gc
from dataclasses import replace

import click

from nexeon.cli.options import config_option, given


@click.command("serve")
@config_option
@click.option("--host", help="The address to listen on, in place of the configured one.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="P", help="The port to listen on; 0 takes a free one.")
@click.option("--sandbox", is_flag=True, help="Answer every model offline; prints an account, a key and a curl line.")
def command(host: str | None, port: int | None, sandbox: bool) -> None:
    """Serve the gateway, until it is interrupted.

    \b
    nexeon serve
    nexeon serve --sandbox --port 0
    nexeon serve -c gateway.yaml -c mine.yaml --host 0.0.0.0

    SIGHUP and `nexeon reload` read the configuration again, and so does a change of its files, of mappings or schemas.
    SIGTERM lets what is running finish; a second one does not wait for it.
    """
    gc.disable()  # nearly all that a start makes stays: looking for garbage among it is a fifth of the time until ready
    try:
        _serve(host, port, sandbox=sandbox)
    finally:
        gc.enable()


def _serve(host: str | None, port: int | None, *, sandbox: bool) -> None:
    read = given().config
    config = read()
    server = replace(
        config.server,
        host=config.server.host if host is None else host,
        port=config.server.port if port is None else port,
    )
    overlay = None
    if sandbox:
        from nexeon.cli.sandbox import Sandbox

        overlay = Sandbox()
    from nexeon.gateway.server.libraries import import_libraries

    import_libraries()
    from nexeon.gateway.server.serve import serve

    gc.freeze()  # so that the look before the first request is at what is made from here on
    serve(replace(config, server=server), overlay=overlay, load=read, loaded=config)
