"""Every recorded answer as a resource: kept, read again, made in the background, streamed again, gone on from."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from .cases import PROVIDER_APIS, RESPONSES, Case
from .grammar import responses_problem
from .replay import ROOT, Live, live, prompt, sse_events, target_of
from .tally import Tally, expect_none

LAYER = "resource"
EVERYTHING = [
    "code_interpreter_call.outputs",
    "file_search_call.results",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]
STORED = ("queued", "in_progress")


@cache
def _schema(format_name: str) -> jsonschema_rs.Draft202012Validator:
    text = (ROOT / f"schemas/formats/{format_name}/request.json").read_text()
    return jsonschema_rs.Draft202012Validator(json.loads(text))


@pytest.mark.parametrize("provider_api", PROVIDER_APIS)
def test_an_answer_is_a_resource(provider_api: str, cases: list[Case], tally: Tally, tmp_path: Path) -> None:
    mine = [case for case in cases if case.provider_api == provider_api and not _open(case)]

    async def run() -> list[str]:
        failures: list[str] = []
        async with live(map(target_of, mine), tmp_path) as gateway:
            for case in mine:
                for judge, problem in (await _problems(gateway, case)).items():
                    tally.count(LAYER, RESPONSES, judge, "failed" if problem else "held")
                    failures += [f"{case.name}: {judge}: {problem}"] if problem else []
        return failures

    expect_none(asyncio.run(run()))


async def _problems(gateway: Live, case: Case) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    piped = case.format == RESPONSES
    response = await gateway.ask(case, RESPONSES)
    if response.status_code != 200:
        return {"kept": f"status {response.status_code}: {response.text[:300]}"}
    answer = _events(response.text)[-1]["response"] if case.stream else response.json()
    found["kept"] = await _differs(gateway, answer)
    gateway.replay.load(case)
    body = {**prompt(RESPONSES, stream=case.stream), "background": True}
    response = await gateway.send(target_of(case), RESPONSES, body, stream=case.stream)
    await gateway.replay.wait()
    if case.stream:
        events = _events(response.text)
        found["background"] = _own_rules(events) if piped else responses_problem(events, background=True)
        later = events[-1]["response"]
        for after in (-1, len(events) // 2):
            query = {"stream": "true"} | ({"starting_after": str(after)} if after >= 0 else {})
            again = await gateway.client.get(f"/v1/responses/{later['id']}", params=query)
            if _events(again.text) != events[after + 1 :]:
                found["resumed"] = f"the events after {after} are other ones"
        found.setdefault("resumed", None)
    else:
        later = response.json()
        while later["status"] in STORED:
            await asyncio.sleep(0.002)
            later = (await gateway.client.get(f"/v1/responses/{later['id']}", params={"include": EVERYTHING})).json()
        found["background"] = None
    if _said(later) != _said(answer):
        found["background"] = f"it says {str(_said(later))[:200]} and not {str(_said(answer))[:200]}"
    found["kept"] = found["kept"] or await _differs(gateway, later)
    gateway.replay.load(case)
    body = {**prompt(RESPONSES, stream=case.stream), "previous_response_id": later["id"]}
    response = await gateway.send(target_of(case), RESPONSES, body, stream=case.stream)
    if response.status_code != 200:
        found["gone on from"] = f"status {response.status_code}: {response.text[:300]}"
    else:
        asked = gateway.replay.asked_body
        problems = [error.message[:300] for error in _schema(case.format).iter_errors(asked)]
        if piped:  # its own items, whatever they are
            before = [item["type"] for item in later["output"] if item["type"] != "reasoning"]
            sent = [item.get("type") for item in asked["input"] if item.get("type") != "reasoning"]
            problems = [] if sent[1:-1] == before else [f"{sent} is sent after {before}"]
        found["gone on from"] = problems[0] if problems else None
    return found


def _open(case: Case) -> bool:
    """Whether the provider itself made it in the background, and had not ended it."""
    return case.format == RESPONSES and not case.stream and case.body["status"] in STORED


def _own_rules(events: list[Any]) -> str | None:
    """The gateway's part in a stream that a provider made by its own ones."""
    first = [event["type"] for event in events[:2]]
    if first != ["response.created", "response.queued"]:
        return f"the first events are {first}"
    if [event["sequence_number"] for event in events] != list(range(len(events))):
        return "sequence_number"
    return None if events[-1]["response"]["status"] not in STORED else "no end"


async def _differs(gateway: Live, answer: dict[str, Any]) -> str | None:
    """How an answer that is read again is another one than it was."""
    read = (await gateway.client.get(f"/v1/responses/{answer['id']}", params={"include": EVERYTHING})).json()
    return None if read == answer else f"fields {[name for name in answer if read.get(name) != answer[name]]}"


def _events(text: str) -> list[Any]:
    named, problem = sse_events(text)
    assert problem is None, problem
    return [json.loads(data) for _, data in named]


def _said(answer: dict[str, Any]) -> Any:
    """An answer without what is made anew for each."""
    made = ("id", "call_id", "encrypted_content", "extra_content")
    items = [{name: value for name, value in item.items() if name not in made} for item in answer["output"]]
    return answer["status"], items, answer["usage"]
