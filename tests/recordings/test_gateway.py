"""Every recorded answer through a live gateway, read by clients of every format."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from .cases import CHAT, FORMATS, MESSAGES, PROVIDER_APIS, RESPONSES, Case, Exceptions
from .facts import expected_usage
from .judge import enter, judge
from .replay import live, prompt, sse_events, target_of
from .tally import Tally, expect_none

LAYER = "gateway"


KEPT = ("store", "background", "previous_response_id")
"""Fields of a Responses answer that tell where it is kept: with the gateway."""


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("provider_api", PROVIDER_APIS)
def test_an_answer_says_what_was_recorded(
    provider_api: str, client: str, cases: list[Case], exceptions: Exceptions, tally: Tally, tmp_path: Path
) -> None:
    mine = [case for case in cases if case.provider_api == provider_api]

    async def run() -> list[str]:
        failures: list[str] = []
        async with live(map(target_of, mine), tmp_path) as gateway:
            for case in mine:
                response = await gateway.ask(case, client)
                said, problem = _said(response, case, client)
                piped = case.format == client
                if problem:
                    tally.count(LAYER, client, "grammar", "failed")
                    failures.append(f"{case.name} → {client}: {problem}")
                    continue
                verdicts = judge(case, client, said, piped=piped)
                verdicts["charge"] = _mischarged(case, await gateway.charged())
                if piped:
                    verdicts["untouched"] = _touched(case, said)
                failures += enter(tally, exceptions, LAYER, case, client, verdicts)
        return failures

    expect_none(asyncio.run(run()))


def _said(response: httpx.Response, case: Case, client: str) -> tuple[Any, str | None]:
    """The answer or its events, and what is wrong with the way they came."""
    if response.status_code != 200:
        return None, f"status {response.status_code}: {response.text[:300]}"
    if not case.stream:
        return json.loads(response.content), None
    if not response.headers["content-type"].startswith("text/event-stream"):
        return None, f"content-type {response.headers['content-type']}"
    events, problem = sse_events(response.text)
    if problem:
        return None, problem
    ended = [data for _, data in events if data == "[DONE]"]
    if client == CHAT:
        if len(ended) != 1 or events[-1][1] != "[DONE]":
            return None, "[DONE] is not said once, at the end"
        events = events[:-1]
    elif ended:
        return None, "[DONE] in a format that has none"
    said = [json.loads(data) for _, data in events]
    for (name, _), event in zip(events, said, strict=True):
        if name != (event.get("type") if client in (RESPONSES, MESSAGES) else None):
            return None, f"event: {name} for {event.get('type')}"
    return said, None


def _mischarged(case: Case, charged: dict[str, int]) -> str | None:
    wanted = {name: value or 0 for name, value in expected_usage(case).items()}
    return None if not wanted or wanted == charged else f"{wanted} was charged as {charged}"


def _touched(case: Case, said: Any) -> str | None:
    """What the pipe changed, but for the gateway's mark in ids and what it says of keeping the answer."""
    before, after = (_comparable(value, case) for value in (list(case.events()) if case.stream else case.body, said))
    if before == after:
        return None
    if not case.stream:
        return f"fields {[key for key in {**before, **after} if before.get(key) != after.get(key)]}"
    if len(before) != len(after):
        return f"{len(before)} events became {len(after)}"
    number = next(n for n, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1])
    return f"event {number}: {before[number]} became {after[number]}"[:300]


def _comparable(said: Any, case: Case) -> Any:
    said = json.loads(json.dumps(said).replace("nex-", ""))
    if case.format == RESPONSES:
        for body in (event.get("response", {}) for event in said) if case.stream else (said,):
            for name in KEPT:
                body.pop(name, None)
    return said


def test_usage_that_was_not_asked_for_is_not_shown(cases: list[Case], tally: Tally, tmp_path: Path) -> None:
    """In Chat streams, whoever answers; it is charged all the same."""
    streams = [case for case in cases if case.stream]
    body = {name: value for name, value in prompt(CHAT, stream=True).items() if name != "stream_options"}

    async def run() -> list[str]:
        failures: list[str] = []
        async with live(map(target_of, streams), tmp_path) as gateway:
            for case in streams:
                gateway.replay.load(case)
                said, problem = _said(await gateway.send(target_of(case), CHAT, body, stream=True), case, CHAT)
                if not problem and (shown := [event for event in said if event.get("usage")]):
                    problem = f"usage is shown: {shown[0]}"
                problem = problem or _mischarged(case, await gateway.charged())
                tally.count(LAYER, CHAT, "hidden usage", "failed" if problem else "held")
                failures += [f"{case.name}: {problem}"] if problem else []
        return failures

    expect_none(asyncio.run(run()))
