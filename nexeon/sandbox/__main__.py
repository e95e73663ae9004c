"""`python -m nexeon.sandbox --port N`: the offline upstream by itself, for trying by hand."""

from __future__ import annotations

import asyncio
import signal
import sys

import click

from nexeon.sandbox import directives
from nexeon.sandbox.server import SandboxServer


@click.command(epilog="\b\n" + (directives.__doc__ or "").replace("\n\n", "\n\n\b\n"))
@click.option("--port", default=8081, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free port.")
@click.option("--host", default="127.0.0.1", show_default=True)
def main(port: int, host: str) -> None:
    """Serve the offline upstream until interrupted."""
    try:
        asyncio.run(_serve(port, host))
    except OSError as problem:
        raise click.ClickException(f"cannot serve on {host}:{port}: {problem}. Take another --port.") from None


async def _serve(port: int, host: str) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with SandboxServer(port, host) as base_url:
        print(base_url, flush=True)
        print("Stop with Ctrl-C.", file=sys.stderr)
        await stopping.wait()


if __name__ == "__main__":
    main()
