"""Laws that hold for whatever the canonical schema allows: of requests and of answers."""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.data import data_path
from nexeon.errors import MappingFailure
from nexeon.mapping.format import Format
from nexeon.mapping.seals import open_envelope
from nexeon.mapping.source import parse, plain
from nexeon.wire.json import dumps, loads
from tests.mapping import canonical
from tests.mapping.laws import (
    AFTER,
    ARGUMENTS,
    BASE64,
    FORMATS,
    SCHEMAS,
    SOURCES,
    TEXT,
    TOKEN,
    context,
    library,
    text_block,
)

# --- a request that says what people say

PDF = st.builds(lambda data: {"kind": "base64", "media_type": "application/pdf", "data": data}, BASE64)


SAID = st.one_of(
    st.builds(text_block, TEXT),
    st.builds(lambda source: {"type": "image", "source": source}, SOURCES),
    st.builds(
        lambda source, name: {"type": "document", "source": source, "filename": f"{name}.pdf"}, PDF, canonical.WORDS
    ),
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


@pytest.mark.parametrize("name", FORMATS)
@AFTER
@given(response=canonical.definition("response", depth=4, fields={"extra": None}))
def test_an_answer_says_nothing_that_was_not_said(name: str, response: dict[str, Any]) -> None:
    form = library().formats[name]
    try:
        body = loads(dumps(form.encode_response(response, context(name, body={"model": "model"}))))
    except MappingFailure:
        return
    texts, numbers = constants(name)
    said = {leaf for leaf in leaves(response) if isinstance(leaf, str)} | {"model"}
    counted = [leaf for leaf in leaves(response) if isinstance(leaf, int | float) and not isinstance(leaf, bool)]
    # classes of usage are counted together, or apart
    most = sum(value for value in leaves(response.get("usage", {})) if isinstance(value, int | float))
    known = {1_790_000_000, 1_790_003_600, *range(200)}  # times; places in lists and texts
    for leaf in leaves(body):
        if isinstance(leaf, str):
            assert comes_from(leaf, said, texts) or envelopes(leaf), (leaf, body)
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            assert leaf in counted or leaf in numbers or leaf in known or abs(leaf) <= most, (leaf, body)


def envelopes(text: str) -> bool:
    """Whether it is an envelope, as it is or in base64."""
    return open_envelope(text) is not None


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
