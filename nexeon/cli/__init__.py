"""The `nexeon` command. Each verb is a module of its own that is imported when it is used."""

from __future__ import annotations

import difflib
import importlib
import os
from typing import TYPE_CHECKING, Any, Final

import click

from nexeon import __version__
from nexeon.cli.options import config_option
from nexeon.errors import LoadError, NexeonError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_VERBS: Final = {
    "serve": "Serve the gateway.",
    "check": "Check the configuration, schemas, mappings and mapping cases.",
    "explain": "Show the upstream request that a request becomes, and what was lost.",
    "accounts": "Manage accounts.",
    "keys": "Manage the keys of clients.",
    "credits": "Manage credit.",
    "provider-keys": "Manage the operator's keys at providers.",
    "models": "Show the configured models.",
    "routes": "Show where clients ask.",
    "configuration": "Show the effective configuration.",
    "usage": "Show what was used, by day, account, key, model or provider.",
    "requests": "Show the log of requests.",
    "audit": "Show who changed what.",
    "store": "Move a store to another engine, and shape a database.",
    "reload": "Have the gateway read its configuration again.",
    "diff": "Show what another configuration would change.",
    "live": "Show what happens now.",
    "status": "Show what is administered, and what needs attention.",
    "tui": "Open the admin terminal.",
    "completion": "Print what makes a shell complete commands.",
}


class Verbs(click.Group):
    """Finds the verbs' modules, and turns our exceptions into one message for people and exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(f"nexeon.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _VERBS and (near := difflib.get_close_matches(args[0], _VERBS, 1)):
            ctx.fail(f"no command `{args[0]}`: did you mean `{near[0]}`?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that `--help` imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """From the table, too."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(name, help=words) for name, words in _VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def _main_shell_completion(self, *args: Any, **options: Any) -> None:
        if "_NEXEON_COMPLETE" in os.environ:
            importlib.import_module("nexeon.cli.shells")
        super()._main_shell_completion(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NexeonError as error:
            for line in error.problems if isinstance(error, LoadError) else [error]:
                click.echo(f"nexeon: {line}", err=True)
            raise click.exceptions.Exit(1) from None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="nexeon")
@config_option
def main() -> None:
    """One HTTP endpoint in front of many LLM providers.

    With a gateway running on the store, commands act through it; without one, on the store itself. Data goes to
    stdout, words to stderr. Exit status: 0 done, 1 refused or failed, 2 wrong usage.
    """
