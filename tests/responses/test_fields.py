"""What becomes of each field of a request, at every provider; and of conversations in which tools are called."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml

from nexeon.config import load_config
from nexeon.gateway.server.app import create_app, services_of
from nexeon.mapping import Library, load_library
from nexeon.sandbox.app import create_app as create_sandbox
from nexeon.store import open_store, to_nano
from nexeon.store.guests import GuestStore

from .conftest import MODELS, UPSTREAMS, Upstream
from .judge import Json, check_answer, text_of
from .served import ROOT
from .test_requests import FREE, PARAMETERS

TABLE: dict[str, Json] = yaml.safe_load((Path(__file__).parent / "fields.yaml").read_text())
TOOLS = [
    {"type": "function", "name": name, "description": "Tells.", "parameters": PARAMETERS, "strict": True}
    for name in ("get_weather", "get_time")
]
CUSTOM = {"type": "custom", "name": "patch", "description": "Takes a patch.", "format": {"type": "text"}}
NAMES = ("OPENAI", "ANTHROPIC", "GEMINI", "DEEPSEEK", "XAI", "OPENROUTER")


@dataclass
class Bench:
    client: httpx.AsyncClient
    sent: list[Json]

    async def ask(self, **body: Any) -> httpx.Response:
        answer = await self.client.post("/responses", json=body)
        assert answer.status_code == 200, answer.text
        check_answer(answer.json())
        return answer


@cache
def library() -> Library:
    return load_library([ROOT / "mappings"])


@cache
def schema(format_name: str) -> jsonschema_rs.Draft202012Validator:
    file = ROOT / f"schemas/formats/{format_name}/request.json"
    return jsonschema_rs.Draft202012Validator(json.loads(file.read_text()))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A gateway in this process, in front of the offline upstream; what that is sent is kept, and has to be valid."""
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"store": {"url": f"tinydb:{tmp_path / 'data'}"}}))
    files = [ROOT / "gateway.yaml", UPSTREAMS, tmp_path / "own.yaml"]
    config = load_config(files, environ={f"{name}_API_KEY": "secret-of-the-operator" for name in NAMES})
    sent: list[Json] = []
    offline = httpx.ASGITransport(create_sandbox())  # type: ignore[arg-type]

    class Recorder(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(json.loads(await request.aread()))
            return await offline.handle_async_request(request)

    store = GuestStore(await open_store("memory:"))
    _, key = await store.welcome("guest", to_nano("100"))
    app = create_app(config, library(), store, transport=lambda _: Recorder())
    await services_of(app).start()
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app),  # type: ignore[arg-type]
        base_url="http://gateway/v1",
        headers={"authorization": f"Bearer {key}"},
    )
    yield Bench(client, sent)
    await client.aclose()
    await services_of(app).stop()
    await store.close()


def valid(upstream: Upstream, body: Json) -> None:
    """By the provider's format."""
    problems = [
        f"{list(error.instance_path)}: {error.message[:200]}" for error in schema(upstream.format).iter_errors(body)
    ]
    assert problems == []
    text = json.dumps(body)
    assert "nex-" not in text
    assert "nxs1." not in text


def nested(name: str, value: Any) -> Json:
    head, _, rest = name.partition(".")
    return {head: nested(rest, value) if rest else value}


async def test_every_field_is_said_or_told(bench: Bench, upstream: Upstream) -> None:
    for name, row in TABLE.items():
        body = {"model": upstream.model, "input": "Hi", "tools": TOOLS[:1]}
        await bench.ask(**body)
        without = bench.sent[-1]
        answer = await bench.ask(**body, **nested(name, row["value"]))
        valid(upstream, bench.sent[-1])
        dropped = answer.headers.get("x-nexeon-dropped", "").split(", ")
        done = any(upstream.model.startswith(model) for model in row.get("done", {}))
        said = bench.sent[-1] != without
        told = any(one == name or one.startswith(f"{name}.") or name.startswith(f"{one}.") for one in dropped)
        assert said or told or done, f"{name} is lost: {bench.sent[-1]}"
        if upstream.provider == "openai" and upstream.format == "openai.responses":
            assert not told, f"{name} is dropped at its own provider"


async def test_metadata_is_kept(bench: Bench, upstream: Upstream) -> None:
    answer = (await bench.ask(model=upstream.model, input="Hi", metadata={"a": "b", "c": "d"})).json()
    assert answer["metadata"] == {"a": "b", "c": "d"}
    assert (await bench.client.get(f"/responses/{answer['id']}")).json()["metadata"] == answer["metadata"]


async def test_a_loop_of_calls(bench: Bench, upstream: Upstream) -> None:
    """By the last answer's id and results alone: two calls at once, a free-form one, a forced one, and a question."""
    options: Json = {"model": upstream.model, "tools": [*TOOLS, CUSTOM], "reasoning": {"effort": "high"}}
    answer = (await bench.ask(**options, input="call the tools get_weather and get_time")).json()
    calls = [item for item in answer["output"] if item["type"] == "function_call"]
    assert [call["name"] for call in calls] == ["get_weather", "get_time"]
    results = [{"type": "function_call_output", "call_id": call["call_id"], "output": call["name"]} for call in calls]
    for given in (results[::-1], results):  # in whichever order
        again = (await bench.ask(**options, input=given, previous_response_id=answer["id"])).json()
        assert text_of(again).startswith("Tool said:")
        valid(upstream, bench.sent[-1])
    answer = (await bench.ask(**options, input="call the tool patch", previous_response_id=again["id"])).json()
    valid(upstream, bench.sent[-1])
    (call,) = [item for item in answer["output"] if item["type"].endswith("_call")]
    assert (call["type"], call["name"], call["input"] in (FREE, "example")) == ("custom_tool_call", "patch", True)
    parts = [{"type": "input_text", "text": "applied"}, {"type": "input_text", "text": "twice"}]
    for output in ("applied", parts):
        given = [{"type": "custom_tool_call_output", "call_id": call["call_id"], "output": output}]
        again = (await bench.ask(**options, input=given, previous_response_id=answer["id"])).json()
        assert text_of(again).startswith("Tool said:")
        valid(upstream, bench.sent[-1])
    choice = {"type": "function", "name": "get_time"}
    plain = {name: value for name, value in options.items() if name != "reasoning"}
    forced = (
        await bench.ask(**plain, input="Hi", tool_choice=choice, previous_response_id=again["id"], max_tool_calls=1)
    ).json()
    valid(upstream, bench.sent[-1])
    (call,) = [item for item in forced["output"] if item["type"] == "function_call"]
    assert call["name"] == "get_time"
    given = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": "noon"},
        {"role": "user", "content": "And on"},
    ]
    last = (await bench.ask(**plain, input=given, previous_response_id=forced["id"])).json()
    assert text_of(last).endswith("And on")
    valid(upstream, bench.sent[-1])
    page = await bench.client.get(f"/responses/{last['id']}/input_items", params={"order": "asc", "limit": 100})
    kinds = [item["type"] for item in page.json()["data"] if item["type"] != "reasoning"]
    assert kinds == [
        *("message", "function_call", "function_call", "function_call_output", "function_call_output", "message"),
        *("message", "custom_tool_call", "custom_tool_call_output", "message"),
        *("message", "function_call", "function_call_output", "message"),
    ]
    ids = [item["id"] for item in page.json()["data"]]
    assert len(set(ids)) == len(ids)
    assert all(item["id"].startswith("msg_nex-") for item in page.json()["data"] if item["type"] == "message")


async def test_whoever_goes_on(bench: Bench, upstream: Upstream) -> None:
    """A conversation that this model began, with reasoning and calls of both kinds, goes on with any other one."""
    options: Json = {"tools": [*TOOLS, CUSTOM], "reasoning": {"effort": "high", "summary": "auto"}}
    for wanted, kind, result in (
        ("get_weather", "function_call", "function_call_output"),
        ("patch", "custom_tool_call", "custom_tool_call_output"),
    ):
        began = (await bench.ask(**options, model=upstream.model, input=f"call the tool {wanted}")).json()
        (call,) = [item for item in began["output"] if item["type"] == kind]
        given = [{"type": result, "call_id": call["call_id"], "output": "sunny"}]
        for model in MODELS:
            answer = await bench.ask(**options, model=model, input=given, previous_response_id=began["id"])
            assert text_of(answer.json()).startswith("Tool said:"), model
            valid(Upstream(model), bench.sent[-1])
            assert "sunny" in json.dumps(bench.sent[-1])
