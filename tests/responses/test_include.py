"""What is shown of an answer that is read again: what was asked for, and no more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from nexeon.config import load_config
from nexeon.gateway.server.app import create_app, services_of
from nexeon.mapping import load_library
from nexeon.store import open_store, to_nano
from nexeon.store.guests import GuestStore

from .conftest import Api, Upstream
from .judge import Json
from .served import ROOT
from .test_requests import filled

LOGPROB = {"token": "Hi", "bytes": [72, 105], "logprob": -0.1, "top_logprobs": []}
TEXT = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": [LOGPROB]}
SOURCE = {"type": "url", "url": "https://example.org"}
FOUND = {"file_id": "f", "filename": "a.txt", "score": 0.5, "text": "words", "attributes": {}}
OUTPUT: list[Json] = [
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
    {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q", "queries": ["q"], "sources": [SOURCE]},
    },
    {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"], "results": [FOUND]},
    {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "status": "completed",
        "code": "1+1",
        "container_id": "cntr_1",
        "outputs": [{"type": "logs", "logs": "2"}],
    },
    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [TEXT]},
]
USAGE = {
    "input_tokens": 3,
    "output_tokens": 4,
    "total_tokens": 7,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 1},
}
ANSWER: Json = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "model": "gpt-5.2",
    "output": OUTPUT,
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": USAGE,
}
HIDDEN = {
    "reasoning.encrypted_content": (0, lambda item: item.get("encrypted_content"), None, "sealed"),
    "web_search_call.action.sources": (1, lambda item: item["action"].get("sources"), None, [SOURCE]),
    "file_search_call.results": (2, lambda item: item["results"], None, [FOUND]),
    "code_interpreter_call.outputs": (3, lambda item: item["outputs"], None, [{"type": "logs", "logs": "2"}]),
    "message.output_text.logprobs": (4, lambda item: item["content"][0]["logprobs"], [], [LOGPROB]),
}
"""For each thing that can be asked for: its item's place, what to look at, and that without it and with it."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway whose provider always gives the answer that has everything."""
    own = {"store": {"url": f"tinydb:{tmp_path / 'data'}"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    files = [ROOT / "gateway.yaml", ROOT / "tests/sdk/upstreams.yaml", tmp_path / "own.yaml"]
    config = load_config(files, environ={"OPENAI_API_KEY": "secret"})
    store = GuestStore(await open_store("memory:"))
    _, key = await store.welcome("guest", to_nano("10"))
    asked: list[Json] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        return httpx.Response(200, json={**ANSWER, "id": f"resp_{len(asked)}"})

    app = create_app(config, load_library([ROOT / "mappings"]), store, transport=lambda _: httpx.MockTransport(answer))
    await services_of(app).start()
    made = httpx.AsyncClient(
        transport=httpx.ASGITransport(app),  # type: ignore[arg-type]
        base_url="http://gateway/v1",
        headers={"authorization": f"Bearer {key}"},
    )
    made.asked = asked  # type: ignore[attr-defined]
    yield made
    await made.aclose()
    await services_of(app).stop()
    await store.close()


async def test_answer(client: httpx.AsyncClient) -> None:
    made = (await client.post("/responses", json={"model": "openai:openai.responses", "input": "Hi"})).json()
    path = f"/responses/{made['id']}"
    plain = (await client.get(path)).json()
    for name, (place, look, without, with_it) in HIDDEN.items():
        assert look(plain["output"][place]) == without, name
        assert look(made["output"][place]) == with_it, name
        for query in ({"include": name}, {"include[]": name}, {"include[0]": name}, {"include": f"{name},{name}"}):
            shown = (await client.get(path, params=query)).json()
            assert look(shown["output"][place]) == with_it, query
            others = [other for other in HIDDEN if other != name]
            assert all(HIDDEN[other][1](shown["output"][HIDDEN[other][0]]) == HIDDEN[other][2] for other in others)
    assert (await client.get(path, params={"include": list(HIDDEN)})).json() == made


async def test_input_items(client: httpx.AsyncClient) -> None:
    """The items of the answers before are the input of the next one."""
    body = {"model": "openai:openai.responses", "input": "Hi"}
    first = (await client.post("/responses", json=body)).json()
    second = (await client.post("/responses", json={**body, "previous_response_id": first["id"]})).json()
    path = f"/responses/{second['id']}/input_items"

    async def items(include: list[str]) -> list[Json]:
        page = (await client.get(path, params={"order": "asc", "include": include})).json()
        found: list[Json] = page["data"]
        assert (page["object"], page["has_more"]) == ("list", False)
        return found[1 : 1 + len(OUTPUT)]

    plain = await items([])
    assert [item["type"] for item in plain] == [item["type"] for item in OUTPUT]
    for name, (place, look, without, with_it) in HIDDEN.items():
        assert look(plain[place]) == without
        assert look((await items([name]))[place]) == with_it
    assert plain[4]["id"] == "msg_nex-1"


async def test_what_was_not_shown_comes_back(client: httpx.AsyncClient) -> None:
    """Reasoning that is sent again as it was read, without its seal, reaches the provider with it."""
    body: Any = {"model": "openai:openai.responses", "input": "Hi"}
    first = (await client.post("/responses", json=body)).json()
    plain = (await client.get(f"/responses/{first['id']}")).json()["output"]
    again = [{"role": "user", "content": "Hi"}, plain[0], plain[4], {"role": "user", "content": "And on"}]
    for store in (True, False):
        await client.post("/responses", json={**body, "input": again, "store": store})
        asked = client.asked[-1]["input"]  # type: ignore[attr-defined]
        assert asked[1] == OUTPUT[0]
    await client.delete(f"/responses/{first['id']}")
    strange = {"type": "reasoning", "id": "rs_strange", "summary": []}
    await client.post("/responses", json={**body, "input": [strange, *again]})
    kinds = [item.get("type", "message") for item in client.asked[-1]["input"]]  # type: ignore[attr-defined]
    assert "reasoning" in kinds or kinds == ["message"] * len(kinds)


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
def test_include_when_asking(api: Api, upstream: Upstream, streamed: bool) -> None:
    """Every provider's model takes every `include`; what cannot be had is told to be dropped."""
    tools = [filled("$WEATHER")]
    for name in [*HIDDEN, "message.input_image.image_url", "computer_call_output.output.image_url"]:
        body: Json = {"model": upstream.model, "input": "Hi", "include": [name], "tools": tools, "stream": streamed}
        body["reasoning"] = {"effort": "high", "summary": "auto"}
        answer = api.client.post("/responses", json=body)
        assert answer.status_code == 200, (name, answer.text)
    body["include"] = ["reasoning.encrypted_content"]
    body["stream"] = False
    answer = api.client.post("/responses", json=body)
    thought = next(item for item in answer.json()["output"] if item["type"] == "reasoning")
    # three chats have no seals, and one provider seals what follows the thought
    sealed = upstream.model not in ("openai:openai.chat", "deepseek:openai.chat", "xai:openai.chat")
    assert bool(thought.get("encrypted_content")) == (sealed and upstream.provider != "gemini")
