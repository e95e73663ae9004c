"""`nexeon completion`"""

from __future__ import annotations

import click

from nexeon.cli.shells import SHELLS


@click.command("completion")
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and names: of models, accounts, keys …

    \b
    nexeon completion bash > ~/.local/share/bash-completion/completions/nexeon
    nexeon completion zsh > ~/.zfunc/_nexeon
    nexeon completion fish > ~/.config/fish/completions/nexeon.fish
    """
    click.echo(SHELLS[shell](ctx.find_root().command, {}, "nexeon", "_NEXEON_COMPLETE").source())
