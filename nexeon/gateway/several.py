"""Several answers to one request, from targets that give one at a time: as many calls at once, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from nexeon.mapping.wirefacts import RequestFacts

MOST: Final = 16
"""Calls made at once for one request."""

_RATES: Final = frozenset({"service_tier", "extra"})
T = TypeVar("T")


def answers_wanted(facts: RequestFacts, body: Mapping[str, Any]) -> tuple[int, str]:
    """How many answers a client's body asks for, and the name of the field that says so."""
    for path in facts.answers:
        if type(number := path.get(body)) is int and number > 1:
            return number, path.text
    return 1, ""


def asking_for_one(facts: RequestFacts, body: Any) -> Any:
    """The body without the number of answers; itself where it has none."""
    for path in facts.answers:
        body = path.remove(body)
    return body


async def at_once(call: Callable[[], Awaitable[T]], times: int) -> list[T]:
    """The results of as many calls. The first failure ends the others, and is raised."""
    tasks = [asyncio.ensure_future(call()) for _ in range(times)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failure = next((task.exception() for task in tasks if task.done() and task.exception() is not None), None)
        if failure is not None:
            raise failure
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def together(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Canonical answers as one: the first, with the others as its alternatives and the usage of all of them."""
    first = dict(answers[0])
    first["alternatives"] = [{name: one[name] for name in ("blocks", "finish") if name in one} for one in answers[1:]]
    usage: dict[str, Any] = {}
    for one in answers:
        for name, value in (one.get("usage") or {}).items():
            known = usage.get(name)
            counts = type(value) in (int, float) and type(known) in (int, float) and name not in _RATES
            usage[name] = known + value if counts else value if known is None else known
    if usage:
        first["usage"] = usage
    return first
