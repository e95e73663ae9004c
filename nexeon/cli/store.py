"""`nexeon store …`"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from nexeon.cli.options import config_option, given, json_option
from nexeon.cli.output import show, show_record, tell
from nexeon.errors import StoreError

if TYPE_CHECKING:
    from nexeon.store.move import Side

_CONFIGURED: Final = "configured"


@click.group("store")
@config_option
@json_option
def command() -> None:
    """Move a store to another engine, and shape a database.

    \b
    nexeon store migrate tinydb:./data postgresql://nexeon@db/nexeon
    nexeon store migrations --dry-run
    """


@command.command("migrate")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@config_option
@json_option
def migrate(source: str, target: str) -> None:
    """Copy everything of one store to another, and check the sums.

    FROM and TO are store URLs; `configured` is the configuration's own. No gateway may run on either. FROM stays as it
    is. Doing it again goes on where it was broken off, and takes what is new. Provider keys need the same
    NEXEON_SECRET_KEY on every gateway of a database.

    \b
    nexeon store migrate tinydb:./data postgresql://nexeon@db/nexeon
    nexeon store migrate configured tinydb:./copy --json
    """
    from nexeon.store.money import to_usd
    from nexeon.store.move import move

    moved = asyncio.run(move(_url(source), _url(target), _sides(), _Progress()))
    record = {**asdict(moved), "total": to_usd(moved.total)}
    tell("everything was moved, and the sums agree")
    show_record(record)


@command.command("migrations")
@click.argument("database", metavar="[URL]", required=False, default=_CONFIGURED)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--sql", is_flag=True, help="Show the statements, too.")
@config_option
@json_option
def migrations(database: str, dry_run: bool, sql: bool) -> None:
    """Bring a database's tables up to date; a gateway does so when it starts.

    \b
    nexeon store migrations --dry-run --sql
    nexeon store migrations postgresql://nexeon@db/nexeon
    """
    url = _url(database)
    if not url.startswith(("postgresql://", "postgres://")):
        raise StoreError(f"a {url.partition(':')[0]}: store has no migrations")
    steps = asyncio.run(_migrations(url, dry_run=dry_run))
    if not steps:
        tell("the database is up to date")
    elif dry_run:
        tell(f"{len(steps)} to be made:")
    else:
        tell(f"{len(steps)} made:")
    facts = [{"number": step.number, "name": step.name, **({"sql": step.sql} if sql else {})} for step in steps]
    lines = [f"{step.number:04d} {step.name}" + (f"\n\n{step.sql}" if sql else "") for step in steps]
    if steps or given().json:
        show(facts, "\n".join(lines))


async def _migrations(url: str, *, dry_run: bool) -> list[Any]:
    try:
        from nexeon.store.postgres.connections import Connections, let_go, told
        from nexeon.store.postgres.migrations import migrate, pending
    except ModuleNotFoundError as error:
        raise StoreError(f"this needs {error.name}: pip install 'nexeon[postgres]'") from None
    connections = Connections(url)
    connection: Any = None
    with told(connections.name):
        try:
            connection = await connections.fresh()
            return await (pending(connection) if dry_run else migrate(connection))
        finally:
            await let_go(connection)


def _url(text: str) -> str:
    return given().config().store.url if text == _CONFIGURED else text


def _sides() -> list[Side]:
    """The stores beside the ledger, of all layers."""
    from nexeon.admin import audit, usage
    from nexeon.gateway.repeats import idempotency
    from nexeon.store import answers, requests, rests
    from nexeon.store.move import Side

    return [
        Side(answers.FILE, answers.TABLES, answers.upgrade),
        *(Side(module.FILE, module.TABLES) for module in (requests, rests, idempotency, audit, usage)),
    ]


class _Progress:
    """One line that changes, at a terminal; else a line now and then."""

    def __init__(self) -> None:
        self._told = 0.0
        self._last = ""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        live = sys.stderr.isatty()
        if done != total and now - self._told < (0.1 if live else 2.0):
            return
        self._told = now
        words = f"{what}: {done:,}" + (f" of {total:,}" if total is not None else "")
        if not live:
            tell(words)
            return
        click.echo(("\r" if self._last == what else "\n") + words + " \b", err=True, nl=done == total)
        self._last = "" if done == total else what
