"""Every recorded error through a live gateway, told to clients of every format in its own envelope."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from .cases import FORMATS, GEMINI, MESSAGES, Case, core_cases
from .replay import live, target_of
from .tally import Tally, expect_none

CLIENTS_FAULT = 400
"""The status that a client is told of with the provider's message; a missing model is the operator's fault."""


@pytest.mark.parametrize("client", FORMATS)
def test_an_error_is_told_in_the_clients_words(client: str, recordings: Path, tally: Tally, tmp_path: Path) -> None:
    cases = core_cases(recordings, failed=True)

    async def run() -> list[str]:
        failures: list[str] = []
        async with live(map(target_of, cases), tmp_path) as gateway:
            for case in cases:
                response = await gateway.ask(case, client)
                problem = _problem(case, client, response)
                tally.count("errors", client, "told", "failed" if problem else "held")
                failures += [f"{case.name} → {client}: {problem}: {response.text[:300]}"] if problem else []
        return failures

    expect_none(asyncio.run(run()))


def _problem(case: Case, client: str, response: httpx.Response) -> str | None:
    said = case.body["error"]
    status = _wanted_status(case, said)
    if response.status_code != status:
        return f"status {case.status} became {response.status_code}, not {status}"
    body = response.json()
    envelope = _envelope_problem(client, body, status)
    if envelope:
        return envelope
    told = body["error"]["message"]
    if status == CLIENTS_FAULT and said["message"] not in told:
        return "the provider's message is not told"
    if status == 502 and case.model in told:
        return "the provider's own name of the model leaks"
    return None


def _wanted_status(case: Case, said: dict[str, Any]) -> int:
    if case.status == 404 or said.get("code") == "model_not_found":
        return 502
    return case.status


def _envelope_problem(client: str, body: dict[str, Any], status: int) -> str | None:
    error = body.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return "no error with a message"
    if client == GEMINI:
        return None if error.get("code") == status and isinstance(error.get("status"), str) else "code and status"
    if not isinstance(error.get("type"), str) or not {"param", "code"} <= error.keys():
        return "type, param and code"
    if client == MESSAGES and (body.get("type") != "error" or "request_id" not in body):
        return "the envelope of Messages"
    return None
