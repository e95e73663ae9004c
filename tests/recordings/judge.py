"""The judges of an answer: what it says and carries, whether it has the SDK's types, and its stream the grammar."""

from __future__ import annotations

from typing import Any

from .cases import Case, Exceptions
from .extras import extras, missing
from .facts import differences, expected
from .grammar import stream_problem
from .read import read_body, read_events
from .sdk_types import problem as type_problem
from .tally import Tally

MEANING = ("text", "reasoning", "calls", "finish", "usage")
ASPECTS = (*MEANING, "citations", "server tools", "seals", "types", "grammar")


def judge(case: Case, client: str, said: Any, *, usage: bool = True, piped: bool = False) -> dict[str, str | None]:
    """Per aspect that can be judged: what is wrong, or None. `said`: the answer, or the list of its events.

    `piped`: they are the provider's own, so their grammar, and ids that it does not give, are its own matter.
    """
    verdicts: dict[str, str | None] = {}
    try:
        got = read_events(client, said) if case.stream else read_body(client, said)
    except (KeyError, IndexError, TypeError) as error:
        verdicts |= dict.fromkeys(MEANING, f"cannot be read: {error!r}")
    else:
        want = expected(case, client, own_words=piped)
        if not usage:
            want.usage = {}
        found = differences(want, got, ids=not piped)
        verdicts |= {aspect: found.get(aspect) for aspect in MEANING}
        verdicts |= missing(extras(case.format, recorded(case)), extras(client, said), client)
    own = case.format == client
    # (whoever asks for tools of MCP servers speaks the beta of the API that has them)
    if not own or type_problem(case.format, recorded(case), stream=case.stream, beta=True) is None:
        verdicts["types"] = type_problem(client, said, stream=case.stream, beta=own or b'"mcp_call"' in case.raw)
    if case.stream and not piped:
        verdicts["grammar"] = stream_problem(client, said, usage=usage)
    return verdicts


def recorded(case: Case) -> Any:
    return list(case.events()) if case.stream else case.body


def enter(
    tally: Tally, exceptions: Exceptions, layer: str, case: Case, client: str, verdicts: dict[str, str | None]
) -> list[str]:
    """Counts the verdicts; gives those that count as failures."""
    failures = []
    for aspect, wrong in verdicts.items():
        reason = exceptions.reason(case.name, aspect, client, layer)
        tally.count(layer, client, aspect, "excused" if reason else "failed" if wrong else "held")
        if wrong and not reason:
            failures.append(f"{case.name} → {client}: {aspect}: {wrong}")
        elif reason and not wrong:
            failures.append(f"{case.name} → {client}: {aspect}: holds, so its entry in exceptions.yaml can go")
    return failures
