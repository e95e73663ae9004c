"""A conversation that changes provider every turn, held together by the id of the last answer alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from nexeon.config import load_config
from nexeon.gateway.server.app import create_app, services_of
from nexeon.mapping import Library, load_library
from nexeon.sandbox.app import create_app as create_sandbox
from nexeon.store import open_store, to_nano
from nexeon.store.guests import GuestStore

ROOT = Path(__file__).parents[2]
UPSTREAMS = ROOT / "tests/sdk/upstreams.yaml"
TURNS = (
    ("openai:openai.responses", "openai.responses"),
    ("anthropic:anthropic.messages", "anthropic.messages"),
    ("gemini:gemini.generate_content", "gemini.generate_content"),
    ("deepseek:openai.chat", "openai.chat"),
    ("xai:openai.responses", "openai.responses"),
)
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
)
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
OPTIONS: dict[str, Any] = {
    "tools": [{"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": True}],
    "reasoning": {"effort": "high", "summary": "auto"},
}


class Recorder(httpx.AsyncBaseTransport):
    """The offline upstream in this process; keeps what it was sent."""

    def __init__(self, inner: httpx.AsyncBaseTransport, sent: list[tuple[str, dict[str, Any]]]) -> None:
        self.inner = inner
        self.sent = sent

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append((request.url.host, json.loads(await request.aread())))
        return await self.inner.handle_async_request(request)


@dataclass
class Bench:
    client: AsyncOpenAI
    other: AsyncOpenAI
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def last(self) -> dict[str, Any]:
        return self.sent[-1][1]


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library([ROOT / "mappings"])


@pytest.fixture
async def bench(tmp_path: Path, library: Library) -> AsyncIterator[Bench]:
    small = {
        "owned_by": "tests",
        "created": 1,
        "price": {"input": 1, "output": 2},
        "context_window": 2000,
        "targets": [{"provider": "openai", "model": "gpt-5.2"}],
    }
    own = {"store": {"url": f"tinydb:{tmp_path / 'data'}"}, "models": {"small": small}}
    (tmp_path / "store.yaml").write_text(yaml.safe_dump(own))
    names = ("OPENAI", "ANTHROPIC", "GEMINI", "DEEPSEEK", "XAI")
    config = load_config(
        [ROOT / "gateway.yaml", UPSTREAMS, tmp_path / "store.yaml"],
        environ={f"{name}_API_KEY": "secret-of-the-operator" for name in names},
    )
    sent: list[tuple[str, dict[str, Any]]] = []
    upstream = Recorder(httpx.ASGITransport(create_sandbox()), sent)  # type: ignore[arg-type]
    store = GuestStore(await open_store("memory:"))
    _, secret = await store.welcome("guest", to_nano("1000"))
    _, foreign = await store.welcome("other", to_nano("1000"))
    app = create_app(config, library, store, transport=lambda _: upstream)
    await services_of(app).start()

    def client(key: str) -> AsyncOpenAI:
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app))  # type: ignore[arg-type]
        return AsyncOpenAI(base_url="http://gateway/v1", api_key=key, max_retries=0, http_client=http)

    made = Bench(client(secret), client(foreign), sent)
    yield made
    await made.client.close()
    await made.other.close()
    await services_of(app).stop()
    await store.close()


def valid(format_name: str, body: dict[str, Any]) -> None:
    schema = json.loads((ROOT / f"schemas/formats/{format_name}/request.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(body)


async def answer_of(bench: Bench, *, streamed: bool, **options: Any) -> Any:
    if not streamed:
        return await bench.client.responses.create(**options)
    async with bench.client.responses.stream(**options) as stream:
        return await stream.get_final_response()


@pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
@pytest.mark.parametrize("shift", range(5))
async def test_five_providers(bench: Bench, shift: int, streamed: bool) -> None:
    """Each turn: a picture with a request for the tool, then its result alone, from the next provider."""
    turns = TURNS[shift:] + TURNS[:shift]
    previous = None
    for number, (model, format_name) in enumerate(turns):
        content: list[Any] = [{"type": "input_text", "text": f"Turn {number}: call the tool get_weather"}]
        if number == 0 and not model.startswith("deepseek"):
            content.append({"type": "input_image", "image_url": PIXEL, "detail": "auto"})
        told: Any = [{"role": "user", "content": content}]
        answer = await answer_of(
            bench, streamed=streamed, model=model, input=told, previous_response_id=previous, **OPTIONS
        )
        valid(format_name, bench.last)
        assert [item.type for item in answer.output if item.type != "message"] == ["reasoning", "function_call"], model
        call = next(item for item in answer.output if item.type == "function_call")
        result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": f"sunny {number}"}]
        model, format_name = turns[(number + 1) % 5]
        answer = await answer_of(
            bench, streamed=streamed, model=model, input=result, previous_response_id=answer.id, **OPTIONS
        )
        assert answer.output_text.startswith("Tool said:"), model
        valid(format_name, bench.last)
        text = json.dumps(bench.last)
        for earlier in range(number + 1):
            assert f"Turn {earlier}: call the tool get_weather" in text
            assert f"sunny {earlier}" in text
        assert "nxs1." not in text
        assert "nex-" not in text
        if shift != 3 and "deepseek" not in model:
            assert PIXEL.partition(",")[2] in text
        previous = answer.id
    listed = [item async for item in bench.client.responses.input_items.list(previous, order="asc", limit=7)]
    assert [item.type for item in listed].count("function_call_output") == 5
    assert [item.type for item in listed].count("function_call") == 5


async def test_reasoning_comes_back_to_its_maker(bench: Bench) -> None:
    """A seal goes to the provider that made it, whatever answered in between, and to no other one."""
    for model, format_name in TURNS[:3] + TURNS[4:]:
        told: Any = "call the tool get_weather"
        first = await bench.client.responses.create(model=model, input=told, **OPTIONS)
        seal = json.dumps(await _seal(bench, model, first))
        call = next(item for item in first.output if item.type == "function_call")
        result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
        foreign = next(name for name, _ in TURNS if name.partition(":")[0] != model.partition(":")[0])
        second = await bench.client.responses.create(
            model=foreign, input=result, previous_response_id=first.id, **OPTIONS
        )
        assert seal not in json.dumps(bench.last), foreign
        third = await bench.client.responses.create(
            model=model, input="And on", previous_response_id=second.id, **OPTIONS
        )
        assert third.output_text == "Echo: And on"
        valid(format_name, bench.last)
        assert seal in json.dumps(bench.last), model


async def _seal(bench: Bench, model: str, answer: Any) -> str:
    """What the provider itself called the seal: what it gets back when its own answer is continued."""
    call = next(item for item in answer.output if item.type == "function_call")
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    await bench.client.responses.create(model=model, input=result, previous_response_id=answer.id, **OPTIONS)
    names = ("encrypted_content", "signature", "thoughtSignature")
    found = [value for value in _values(bench.last, names) if value]
    assert found, model
    return found[0]


def _values(body: Any, names: tuple[str, ...]) -> list[str]:
    if isinstance(body, list):
        return [found for item in body for found in _values(item, names)]
    if isinstance(body, dict):
        own = [value for name, value in body.items() if name in names and isinstance(value, str)]
        return own + [found for value in body.values() for found in _values(value, names)]
    return []


async def test_nobody_elses(bench: Bench) -> None:
    """Another account's answer is not there: not to be read, deleted, listed or continued."""
    model = TURNS[0][0]
    answer = await bench.client.responses.create(model=model, input="Mine")
    for call in (bench.other.responses.retrieve, bench.other.responses.delete):
        with pytest.raises(NotFoundError):
            await call(answer.id)
    with pytest.raises(NotFoundError):
        await bench.other.responses.input_items.list(answer.id)
    with pytest.raises(BadRequestError, match="not found"):
        await bench.other.responses.create(model=model, input="Yours?", previous_response_id=answer.id)
    assert (await bench.client.responses.retrieve(answer.id)).id == answer.id


@pytest.mark.parametrize("store", [True, False])
async def test_truncation(bench: Bench, store: bool) -> None:
    """A conversation beyond the model's window loses its beginning where the request wants so; the list keeps it."""
    said: Any = [{"role": "user", "content": f"{n} " + "word " * 100} for n in range(40)]
    said.append({"role": "user", "content": "And on"})
    options: dict[str, Any] = {"model": "small", "input": said, "max_output_tokens": 50, "store": store}
    await bench.client.responses.create(**options)
    assert len(bench.last["input"]) == 41
    cut = await bench.client.responses.create(truncation="auto", **options)
    assert cut.truncation == "auto"
    assert cut.output_text == "Echo: And on"
    assert 5 < len(bench.last["input"]) < 20
    assert bench.last["input"] == said[-len(bench.last["input"]) :]
    if store:
        assert len([item async for item in bench.client.responses.input_items.list(cut.id)]) == 41
