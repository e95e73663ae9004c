"""`nexeon completion`"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and names: of models, accounts, keys …

    \b
    nexeon completion bash > ~/.local/share/bash-completion/completions/nexeon
    nexeon completion zsh > ~/.zfunc/_nexeon
    nexeon completion fish > ~/.config/fish/completions/nexeon.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "nexeon", "_NEXEON_COMPLETE").source())
