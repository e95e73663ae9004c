"""`nexeon explain`"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nexeon.cli.completing import complete_formats, complete_models, complete_providers
from nexeon.cli.options import config_option, given, json_option
from nexeon.errors import ConfigError, Problem

if TYPE_CHECKING:
    from nexeon.gateway.explain.answers import ExplainedAnswer
    from nexeon.gateway.explain.requests import Explained
    from nexeon.wire.sse import Event

_FILE = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path)


@click.command("explain")
@click.argument("request", metavar="[REQUEST.json]", type=_FILE, required=False)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="M",
    help="A model of the configuration; several may be given.",
    shell_complete=complete_models,
)
@click.option(
    "--from", "source", required=True, metavar="FORMAT", help="The client's format.", shell_complete=complete_formats
)
@click.option(
    "--to",
    multiple=True,
    metavar="NAME",
    help="Only targets at this provider, or spoken to in this format.",
    shell_complete=complete_providers,
)
@click.option("--all-targets", is_flag=True, help="Every provider of the configuration, by each format that it speaks.")
@click.option("--response", type=_FILE, metavar="FILE", help="The way back: a provider's answer (JSON).")
@click.option("--stream", type=_FILE, metavar="FILE", help="The way back: a provider's stream (SSE, or JSON lines).")
@click.option("--status", type=click.IntRange(100, 599), default=200, metavar="N", help="The status of that answer.")
@config_option
@json_option
def command(
    request: Path | None,
    models: tuple[str, ...],
    source: str,
    to: tuple[str, ...],
    all_targets: bool,
    response: Path | None,
    stream: Path | None,
    status: int,
) -> None:
    """Show what a client's request becomes for each target of a model: every value beside the one it came from, the
    mapping lines that made it, and what was lost. `-` reads from stdin. Nothing is sent.

    With --response or --stream: what the client gets of a provider's answer, for a stream event by event. The request
    may be given too, for what it asked for.

    \b
    nexeon explain --model M --from FORMAT REQUEST.json
    nexeon explain --all-targets --from FORMAT REQUEST.json
    nexeon explain --model M --to PROVIDER --from FORMAT --stream ANSWER.sse
    nexeon explain --model M --from FORMAT REQUEST.json --json | jq '.[0].losses'

    Colours are left out where NO_COLOR is set or stdout is no terminal; COLUMNS sets the width. Exit status 1 where a
    target cannot be given the request, or the client gets an error.
    """
    if response is not None and stream is not None:
        raise click.UsageError("--response and --stream are two questions: ask one")
    if request is None and response is None and stream is None:
        raise click.UsageError("give a request file, or an answer with --response or --stream")
    if not models and not all_targets:
        raise click.UsageError("name a model with --model, or take --all-targets")
    from nexeon.cli.explain_text import show_answers, show_requests
    from nexeon.gateway.explain import Explainer

    config = given().config()
    explainer = Explainer(config)
    spoken = dict.fromkeys(name for one in config.providers.values() for name in one.formats)
    if all_targets and not any(name in spoken for name in to):
        to = (*to, *spoken)
    if response is not None or stream is not None:
        asked = _request(request)
        if response is not None:
            answers = explainer.answers(models, source, _read(response), request=asked, status=status, to=to)
        else:
            assert stream is not None
            answers = explainer.streams(models, source, _events(_read(stream), stream), request=asked, to=to)
        _print(answers, lambda: show_answers(answers, stream=stream is not None))
        raise SystemExit(1 if any(answer.failure for answer in answers) else 0)
    assert request is not None
    raw = _read(request)
    requests = explainer.requests(models, source, raw, to=to)
    _print(requests, lambda: show_requests(requests, _parsed(raw)))
    raise SystemExit(1 if any(target.refusal for target in requests) else 0)


def _print(found: Sequence[Explained | ExplainedAnswer], text: Callable[[], None]) -> None:
    if given().json:
        click.echo(json.dumps([target.view() for target in found], ensure_ascii=False))
    else:
        text()


def _read(path: Path) -> bytes:
    with click.open_file(str(path), "rb") as file:
        data: bytes = file.read()
    return data


def _parsed(raw: bytes) -> Any:
    from nexeon.wire.json import JSONError, loads

    try:
        return loads(raw)
    except JSONError:
        return None


def _request(path: Path | None) -> Any:
    """The client's request beside an answer. Raises ConfigError where it is no JSON."""
    from nexeon.wire.json import JSONError, loads

    if path is None:
        return None
    try:
        return loads(_read(path))
    except JSONError as error:
        raise ConfigError([Problem(f"not valid JSON: {error}", str(path))]) from None


def _events(data: bytes, path: Path) -> list[Event]:
    """A stream's events: server-sent events, a JSON array, or a JSON value a line. Raises ConfigError."""
    from nexeon.wire.json import JSONError, dumps, loads
    from nexeon.wire.sse import Event, SSEParser

    lead = data.lstrip()[:1]
    if lead not in (b"{", b"["):
        parser = SSEParser()
        found = [*parser.feed(data), *parser.end()]
        if not found:
            raise ConfigError([Problem("holds no events: server-sent events or JSON lines are needed", str(path))])
        return found
    try:
        if lead == b"[":
            return [Event(None, dumps(one)) for one in loads(data)]
    except JSONError as error:
        raise ConfigError([Problem(f"not valid JSON: {error}", str(path))]) from None
    events = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            if line.strip():
                loads(line)
                events.append(Event(None, line))
        except JSONError as error:
            raise ConfigError([Problem(f"not valid JSON: {error}", str(path), number)]) from None
    return events
