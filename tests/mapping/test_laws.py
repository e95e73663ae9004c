"""Laws that hold for whatever the canonical schema allows."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexeon.data import data_path
from nexeon.errors import MappingFailure
from nexeon.mapping import Library, StreamDecoder, StreamEncoder, load_library, new_context
from nexeon.mapping.format import Format
from nexeon.mapping.schemas import Schemas
from nexeon.mapping.seals import close_envelope, open_envelope
from nexeon.mapping.source import parse, plain
from nexeon.wire.json import dumps, loads

_spec = importlib.util.spec_from_file_location("canonical", Path(__file__).parent / "canonical.py")
assert _spec is not None
assert _spec.loader is not None
canonical = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(canonical)

FORMATS = ("openai.chat", "openai.responses", "anthropic.messages", "gemini.generate_content")
TOKEN = "0123456789abcdef01234567"
SCHEMAS = Schemas(data_path("schemas"))
AFTER = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)


@cache
def library() -> Library:
    return load_library([data_path("mappings")])


def context(form: str, **more: Any) -> dict[str, Any]:
    return new_context(format=form, model="model", token=TOKEN, now=1_790_000_000, **more)


# --- a request that says what people say

BASE64 = st.binary(min_size=3, max_size=9).map(lambda raw: base64.b64encode(raw).decode())
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1).filter(str.strip)
SOURCES = st.one_of(
    st.builds(lambda word: {"kind": "url", "url": f"https://example.com/{word}.png"}, canonical.WORDS),
    st.builds(lambda data: {"kind": "base64", "media_type": "image/png", "data": data}, BASE64),
)
PDF = st.builds(lambda data: {"kind": "base64", "media_type": "application/pdf", "data": data}, BASE64)


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


SAID = st.one_of(
    st.builds(text_block, TEXT),
    st.builds(lambda source: {"type": "image", "source": source}, SOURCES),
    st.builds(
        lambda source, name: {"type": "document", "source": source, "filename": f"{name}.pdf"}, PDF, canonical.WORDS
    ),
)
ARGUMENTS = st.dictionaries(canonical.WORDS, st.one_of(TEXT, canonical.NUMBERS), max_size=2).map(
    lambda value: dumps(value).decode()
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns in the order that every provider takes: calls are answered in the next turn."""
    turns: list[dict[str, Any]] = [{"role": "user", "blocks": draw(st.lists(SAID, min_size=1, max_size=3))}]
    for number in range(draw(st.integers(0, 2))):
        calls = [
            {
                "type": "tool_call",
                "call_id": f"call_{number}{n}",
                "name": draw(canonical.WORDS),
                "arguments": draw(ARGUMENTS),
            }
            for n in range(draw(st.integers(0, 2)))
        ]
        said = draw(st.lists(st.builds(text_block, TEXT), min_size=0 if calls else 1, max_size=1))
        turns.append({"role": "assistant", "blocks": [*said, *calls]})
        results = [
            {"type": "tool_result", "call_id": c["call_id"], "name": c["name"], "blocks": [text_block(draw(TEXT))]}
            for c in calls
        ]
        more = draw(st.lists(SAID, min_size=0 if calls else 1, max_size=2))
        turns.append({"role": "user", "blocks": [*results, *more]})
    return turns


SETTINGS = canonical.from_schema(
    {"type": "object", "properties": {
        name: canonical.SCHEMA["$defs"]["request"]["properties"][name]
        for name in ("sampling", "limits", "output", "reasoning", "metadata", "parallel_tools", "stream")
    }},
    fields=dict.fromkeys(("audio", "prediction", "modalities", "media_type", "extra", "truncation", "n")) | {
        "temperature": st.sampled_from([0, 0.5, 1]),
        "top_p": st.sampled_from([0.25, 1]),
        "top_k": st.integers(1, 50),
        "presence_penalty": st.sampled_from([-1, 0, 1.5]),
        "frequency_penalty": st.sampled_from([-1, 0, 1.5]),
        "logit_bias": st.just({"50256": -100}),
        "top_logprobs": st.integers(0, 5),
        "max_tokens": st.integers(1, 4096),
        "max_tool_calls": st.integers(1, 9),
        "stop": st.lists(canonical.WORDS, min_size=1, max_size=4),
        "schema": st.just({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
        "verbosity": st.sampled_from(["low", "medium", "high"]),
        "budget": st.integers(1024, 30_000),
        "summary": st.sampled_from(["auto", "concise", "detailed"]),
        "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
        "cache_retention": st.sampled_from(["in-memory", "24h"]),
    },
)  # fmt: skip
FUNCTIONS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.just("function"),
            "name": canonical.WORDS,
            "parameters": st.just({"type": "object", "properties": {}}),
        },
        optional={"description": TEXT, "strict": st.booleans()},
    ),
    max_size=2,
    unique_by=lambda tool: tool["name"],
)
REQUESTS = st.builds(
    lambda turns, system, tools, settings: {
        "model": "model", **settings, "turns": turns,
        **({"system": [text_block(text) for text in system]} if system else {}),
        **({"tools": tools} if tools else {}),
    },
    conversations(), st.lists(TEXT, max_size=1), FUNCTIONS, SETTINGS,
)  # fmt: skip


def there_and_back(form: Format, request: dict[str, Any]) -> dict[str, Any]:
    """To the wire, through JSON, and back."""
    path = {"model": "model"}
    body = loads(
        dumps(form.encode_request(request, context(form.name, stream=request.get("stream", False), path=path)))
    )
    validator = SCHEMAS.format(form.name, "request")
    assert validator is not None
    assert validator.accepts(body), (validator.explain(body), body)
    decoded: dict[str, Any] = form.decode_request(
        body, context(form.name, stream=request.get("stream", False), path=path)
    )
    return decoded


@pytest.mark.parametrize("name", FORMATS)
@AFTER
@given(request=REQUESTS)
def test_what_a_format_can_say_comes_back_as_it_was(name: str, request: dict[str, Any]) -> None:
    form = library().formats[name]
    try:
        once = there_and_back(form, request)
    except MappingFailure:
        return  # refused, with a reason
    assert there_and_back(form, once) == once
    canon = SCHEMAS.canonical("request")
    assert canon.accepts(once), canon.explain(once)
    assert words(once) <= words(request), "nothing was made up"
    assert words(request["turns"]) <= words(once["turns"]), "nothing was lost"
    heard = "\n".join(texts(once))
    assert all(text in heard for text in texts(request)), "nothing was lost"


def texts(value: Any) -> list[str]:
    """What the text blocks say."""
    if isinstance(value, dict) and value.get("type") == "text" and isinstance(value.get("text"), str):
        return [value["text"]]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in texts(part)]


def words(value: Any) -> set[str]:
    return set(re.findall(r"\bw[0-9]{3,6}\b", dumps(value).decode()))


# --- encoding never invents


@cache
def constants(name: str) -> tuple[frozenset[str], frozenset[float]]:
    """Every word and number in a mapping."""
    source = (data_path("mappings") / f"formats/{name}.yaml").read_text(encoding="utf-8")
    texts: set[str] = set()
    numbers: set[float] = {0, 1, -1}
    stack: list[Any] = [plain(parse(source, name).root)]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack += [*value, *value.values()]
        elif isinstance(value, list):
            stack += value
        elif isinstance(value, str):
            texts.add(value)
            texts.update(part.strip() for part in re.split(r"\{\{.*?\}\}", value))
            texts.update(re.findall(r"'([^']*)'", value))
            numbers.update(float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers.add(float(value))
    return frozenset(texts), frozenset(numbers)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        return [leaf for part in (value.values() if isinstance(value, dict) else value) for leaf in leaves(part)]
    return [value]


def comes_from(leaf: str, given: set[str], texts: frozenset[str]) -> bool:
    """Whether a text is one of the input's, of the mapping's, or put together from these."""
    if leaf in texts or TOKEN in leaf or any(one and one in leaf.lower() for one in given):
        return True
    try:
        inner = base64.b64decode(leaf, validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    return any(one and one in inner for one in given)


@pytest.mark.parametrize("name", FORMATS)
@AFTER
@given(request=canonical.definition("request", depth=5, fields={"extra": None}))
def test_a_request_says_nothing_that_was_not_said(name: str, request: dict[str, Any]) -> None:
    form = library().formats[name]
    ctx = context(name, upstream_model="upstream", provider="p", account="a", limits={"max_output_tokens": 4096})
    try:
        body = loads(dumps(form.encode_request(request, ctx)))
    except MappingFailure:
        return  # refused, with a reason
    texts, numbers = constants(name)
    said = {leaf for leaf in leaves(request) if isinstance(leaf, str)} | {"upstream", "model"}
    counted = {leaf for leaf in leaves(request) if isinstance(leaf, int)}
    counted |= {4096, 4095, 3276}  # what the model takes, and what of it thinking can have
    for leaf in leaves(body):
        if isinstance(leaf, str):
            assert comes_from(leaf, said, texts), (leaf, body)
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            assert leaf in counted or leaf in numbers, (leaf, body)


# --- an answer comes back as it was

PLAIN = dict.fromkeys(("extra", "seal", "cache", "id", "detail", "redacted")) | {
    "source": SOURCES,
    "arguments": ARGUMENTS,
    "citations": st.lists(canonical.definition("citation", depth=1, fields={"extra": None}), max_size=2),
}
REASONS = ("stop", "stop_sequence", "length", "tool_calls", "refusal", "content_filter", "pause", "context_window")
ANSWERS = st.fixed_dictionaries(
    {
        "blocks": st.lists(
            st.one_of(
                [
                    canonical.definition(kind, fields=PLAIN)
                    for kind in ("text", "refusal", "reasoning", "tool_call", "image")
                ]
            ),
            max_size=3,
        ),
        "finish": st.fixed_dictionaries({"reason": st.sampled_from([*REASONS, "malformed_call", "other"])}),
        "usage": canonical.definition(
            "usage", depth=1, fields=dict.fromkeys(("extra", "service_tier", "cost", "cache_write_total"))
        ),
    }
)


def told_again(form: Format, response: dict[str, Any]) -> dict[str, Any]:
    """To a client, through JSON, and back; without the provider's own word for why it ended."""
    body = loads(dumps(form.encode_response(response, context(form.name, body={"model": "model"}))))
    validator = SCHEMAS.format(form.name, "response")
    assert validator is not None
    assert validator.accepts(body), (validator.explain(body), body)
    decoded: dict[str, Any] = form.decode_response(body, context(form.name))
    return decoded | {"finish": {key: value for key, value in decoded["finish"].items() if key != "raw"}}


@pytest.mark.parametrize("name", FORMATS)
@AFTER
@given(response=ANSWERS)
def test_an_answer_that_a_format_can_tell_comes_back_as_it_was(name: str, response: dict[str, Any]) -> None:
    form = library().formats[name]
    once = told_again(form, response)
    assert told_again(form, once) == once
    canon = SCHEMAS.canonical("response")
    assert canon.accepts(once), canon.explain(once)
    assert words(once) <= words(response), "nothing was made up"


# --- a stream tells what the answer tells

USAGE = st.fixed_dictionaries(
    {"input": canonical.NUMBERS, "output": canonical.NUMBERS}, optional={"cached_input": canonical.NUMBERS}
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """An answer as pieces that a provider may send (calls interleaved, texts cut anywhere), and as a whole."""
    blocks: list[dict[str, Any]] = []
    if draw(st.booleans()):
        blocks.append({"type": "reasoning", "text": draw(TEXT)})
    if draw(st.booleans()):
        blocks.append({"type": "text", "text": draw(TEXT)})
    for number in range(draw(st.integers(0 if blocks else 1, 3))):
        arguments = draw(ARGUMENTS)
        blocks.append(
            {"type": "tool_call", "call_id": f"call_{number}", "name": draw(canonical.WORDS), "arguments": arguments}
        )
    called = any(block["type"] == "tool_call" for block in blocks)
    reason = "tool_calls" if called else draw(st.sampled_from(["stop", "length"]))
    response = {"id": "r1", "model": "model", "created": 1_790_000_000, "blocks": blocks}
    response |= {"finish": {"reason": reason}, "usage": draw(USAGE)}
    pieces: list[dict[str, Any]] = [{"type": "start", **{key: response[key] for key in ("id", "model", "created")}}]
    queues = []
    for key, block in enumerate(blocks):
        field = "arguments" if block["type"] == "tool_call" else "text"
        cut = draw(st.integers(0, len(block[field])))
        head = {name: value for name, value in block.items() if name != field}
        parts = [part for part in (block[field][:cut], block[field][cut:]) if part]
        deltas = [{"type": "delta", "key": key, field: part} for part in parts]
        queue = [{"type": "open", "key": key, "block": head}, *deltas, {"type": "close", "key": key}]
        if block["type"] == "tool_call":
            queues.append(queue)
        else:
            pieces += queue
    for queue in queues:
        pieces.append(queue.pop(0))
    while any(queues):
        queue = draw(st.sampled_from([one for one in queues if one]))
        pieces.append(queue.pop(0))
    pieces += [{"type": "usage", "usage": response["usage"]}, {"type": "finish", "reason": reason}]
    return pieces, response


PIECES = Format(
    parse(
        """
format: pieces
wire: {request: {path: /x}}
request: {decode: {}, encode: {}}
response: {decode: {}, encode: {}}
stream: {decode: "{{ event }}", encode: {}}
error: {decode: {}, encode: {}}
""",
        "pieces.yaml",
    )
)


@pytest.mark.parametrize("name", FORMATS)
@AFTER
@given(told=answers())
def test_a_stream_folds_to_the_answer(name: str, told: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    pieces, response = told
    form = library().formats[name]
    body = {"model": "model", "stream": True, "stream_options": {"include_usage": True}}
    decoder = StreamDecoder(PIECES, context("pieces"))
    encoder = StreamEncoder(form, context(name, stream=True, body=body))
    again = StreamDecoder(form, context(name))
    for piece in pieces:
        for event in loads(dumps(encoder.encode(decoder.feed(piece)))):
            again.feed(event)
    assert decoder.response == response
    for event in loads(dumps(encoder.encode(decoder.end()))):
        again.feed(event)
    again.end()
    assert (again.finished, again.failed) == (True, None)
    whole = form.decode_response(loads(dumps(form.encode_response(response, context(name, body=body)))), context(name))
    assert bare(again.response) == bare(whole)


def bare(response: dict[str, Any]) -> dict[str, Any]:
    """What was answered, without the items' ids."""
    blocks = [
        {key: value for key, value in block.items() if key not in ("id", "extra")} for block in response["blocks"]
    ]
    return {"blocks": blocks, "reason": response["finish"]["reason"], "usage": response.get("usage")}


# --- seals


@given(
    st.fixed_dictionaries(
        {"kind": TEXT, "data": st.text()}, optional=dict.fromkeys(("provider", "account", "model", "format"), TEXT)
    )
)
def test_an_envelope_gives_back_what_was_put_into_it(seal: dict[str, str]) -> None:
    wrapped = close_envelope(seal)
    assert open_envelope(wrapped) == seal
    assert open_envelope(base64.b64encode(wrapped.encode()).decode()) == seal
