"""What providers get from a live gateway: the client's own body, or one that says the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from .cases import CHAT, GEMINI, MESSAGES, PROVIDER_APIS, RESPONSES, SHORT, Case
from .compare_requests import unreported
from .read_requests import read_request
from .refusals import is_known_refusal
from .replay import Target, live, target_of
from .request_types import request_problem
from .tally import Tally, expect_none

PATCHES = (
    ".store: Ellipsis became False",
    ".stream: Ellipsis became True",
    ".stream_options: Ellipsis became {'include_usage': True}",
    ".include: Ellipsis became ['reasoning.encrypted_content']",
    ".n: 1 became Ellipsis",
    ".previous_response_id: None became Ellipsis",
    ".background: True became Ellipsis",
)
"""Changes that the formats and dialects declare, and what the gateway does itself: going on from kept answers, and
answering in the background."""


@pytest.mark.parametrize("provider_api", PROVIDER_APIS)
def test_the_pipe_sends_the_clients_own_body(
    provider_api: str, cases: list[Case], tally: Tally, tmp_path: Path
) -> None:
    mine = [case for case in cases if case.provider_api == provider_api and case.request is not None]
    if not mine:
        return

    async def run() -> list[str]:
        failures: list[str] = []
        async with live(map(target_of, mine), tmp_path) as gateway:
            for case in mine:
                client = case.format
                assert case.request is not None
                gateway.replay.load(case)
                response = await gateway.send(target_of(case), client, case.request, stream=case.stream)
                if case.request.get("background") and response.status_code == 200:
                    await gateway.replay.wait()
                if not gateway.replay.asked:
                    known = is_known_refusal(response.text)
                    tally.count("pipe", client, "body", "excused" if known else "failed")
                    failures += [] if known else [f"{case.name}: {response.status_code} {response.text[:200]}"]
                    continue
                wanted = case.request if client == GEMINI else {**case.request, "model": case.model}
                changed = [
                    change
                    for change in changes(wanted, gateway.replay.asked_body)
                    if not any(change.startswith(patch) for patch in PATCHES)
                ]
                tally.count("pipe", client, "body", "failed" if changed else "held")
                failures += [f"{case.name}: {change}" for change in changed]
        return failures

    expect_none(asyncio.run(run()))


TARGETS: tuple[Target, ...] = (
    ("openai", RESPONSES, "gpt-6.2-sol"),
    ("openai", CHAT, "gpt-5.4"),
    ("anthropic", MESSAGES, "claude-sonnet-4-5"),
    ("gemini", GEMINI, "gemini-2.5-flash"),
)


@pytest.mark.parametrize("target", TARGETS, ids=[SHORT[target[1]] for target in TARGETS])
def test_another_formats_provider_gets_all_that_was_said(
    target: Target, cases: list[Case], tally: Tally, tmp_path: Path
) -> None:
    """`x-nexeon-dropped` names what is not there."""
    provider, format, _ = target
    answers = {case.stream: case for case in cases if (case.provider, case.format) == (provider, format)}

    async def run() -> list[str]:
        failures: list[str] = []
        async with live([target], tmp_path) as gateway:
            for case in cases:
                if case.request is None or case.format == format:
                    continue
                gateway.replay.load(answers[case.stream])
                response = await gateway.send(target, case.format, case.request, stream=case.stream)
                if case.request.get("background") and response.status_code == 200:
                    await gateway.replay.wait()
                if not gateway.replay.asked:
                    known = is_known_refusal(response.text)
                    tally.count("upstream", format, "facts", "excused" if known else "failed")
                    failures += [] if known else [f"{case.name}: {response.status_code} {response.text[:200]}"]
                    continue
                body = gateway.replay.asked_body
                dropped = response.headers.get("x-nexeon-dropped", "").split(", ")
                lost = unreported(read_request(case.format, case.request), read_request(format, body), dropped)
                problem = request_problem(format, body)
                tally.count("upstream", format, "facts", "failed" if lost else "held")
                tally.count("upstream", format, "types", "failed" if problem else "held")
                failures += [f"{case.name}: {name}: {what} (reported: {dropped})" for name, what in lost.items()]
                failures += [f"{case.name}: types: {problem}"] if problem else []
        return failures

    expect_none(asyncio.run(run()))


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """The paths where two bodies differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            change
            for key in {**before, **after}
            for change in changes(before.get(key, ...), after.get(key, ...), f"{path}.{key}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            change
            for number, pair in enumerate(zip(before, after, strict=True))
            for change in changes(*pair, f"{path}[{number}]")
        ]
    return [] if before == after else [f"{path}: {str(before)[:80]} became {str(after)[:80]}"]
