"""`nexeon serve`"""

from __future__ import annotations

from dataclasses import replace

import click

from nexeon.cli.options import config_option, given


@click.command("serve")
@config_option
@click.option("--host", help="The address to listen on, in place of the configured one.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="P", help="The port to listen on.")
@click.option("--sandbox", is_flag=True, help="Answer every model offline; prints an account, a key and a curl line.")
def command(host: str | None, port: int | None, sandbox: bool) -> None:
    """Serve the gateway, until it is interrupted."""
    config = given().config()
    server = config.server
    if host is not None:
        server = replace(server, host=host)
    if port is not None:
        server = replace(server, port=port)
    from nexeon.cli.offline import Offline
    from nexeon.gateway.serve import serve

    serve(replace(config, server=server), overlay=Offline() if sandbox else None)
