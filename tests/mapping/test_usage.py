"""A provider's usage may hold anything: what is no count is noted and left out, and the answer stays good."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from nexeon.mapping import StreamDecoder, StreamEncoder, new_context
from tests.mapping.laws import FORMATS, library
from tests.mapping.test_beyond import CHAT, GEMINI, MESSAGES, RESPONSES, WHOLE

Json = dict[str, Any]
USAGE: dict[str, Json] = {
    CHAT: {
        "prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50, "cost": 0.25,
        "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2, "audio_tokens": 1},
        "completion_tokens_details": {
            "reasoning_tokens": 4, "audio_tokens": 1, "image_tokens": 1, "accepted_prediction_tokens": 1,
            "rejected_prediction_tokens": 1,
        },
        "server_tool_use_details": {"web_search_requests": 1},
    },
    RESPONSES: {
        "input_tokens": 30, "output_tokens": 20, "total_tokens": 50, "cost": 0.25, "cost_in_usd_ticks": 7,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 4},
        "server_side_tool_usage_details": {"web_search_calls": 1},
    },
    MESSAGES: {
        "input_tokens": 30, "output_tokens": 20, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 9,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5},
        "output_tokens_details": {"thinking_tokens": 4}, "server_tool_use": {"web_search_requests": 1},
        "service_tier": "standard",
    },
    GEMINI: {
        "promptTokenCount": 30, "cachedContentTokenCount": 5, "toolUsePromptTokenCount": 3, "candidatesTokenCount": 16,
        "thoughtsTokenCount": 4, "totalTokenCount": 50, "serviceTier": "standard",
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}, {"modality": "IMAGE", "tokenCount": 1}],
    },
}  # fmt: skip
JUNK: list[Any] = [-5, -0.5, 1.5, 1e300, 10**30, "12", "none", True, [], {}, [1], {"a": 1}, None]
NONE = [-5, 1.5, 1e300, 10**30, "12", True, [1], {"a": 1}]
"""What is no count by anybody's measure."""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from leaves(each, (*path, key))


def with_usage(name: str, usage: Any) -> Json:
    event = copy.deepcopy(WHOLE[name])
    place = event["response"] if name == RESPONSES else event
    place["usageMetadata" if name == GEMINI else "usage"] = usage
    return event


def told(name: str, event: Json, ctx: Json) -> list[Json]:
    decoder = StreamDecoder(library().format(name), ctx)
    pieces = decoder.feed(event) + decoder.end()
    assert decoder.finished, decoder.failed
    return pieces


@pytest.mark.parametrize("name", FORMATS)
def test_anything_for_a_count(name: str) -> None:
    formats = [library().format(target) for target in FORMATS]
    for path in leaves(USAGE[name]):
        for junk in JUNK:
            usage = copy.deepcopy(USAGE[name])
            inner: Any = usage
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = junk
            event = with_usage(name, usage)
            ctx, streamed = (new_context(format=name, provider="p", account="a", model="m") for _ in range(2))
            whole = library().format(name).decode_response(event.get("response", event), ctx)
            pieces = told(name, event, streamed)
            for told_usage in (whole["usage"], pieces[-1]["usage"]):
                counts = {key: value for key, value in told_usage.items() if key not in ("extra", "service_tier")}
                assert all(value >= 0 for value in counts.values()), (path, junk)
                assert all(type(value) is int for key, value in counts.items() if key != "cost"), (path, junk)
                assert isinstance(told_usage.get("service_tier", ""), str), (path, junk)
            assert set(ctx["doubts"]) == set(streamed["doubts"]), (path, junk)
            for format in formats:
                own = new_context(format=format.name, model="m", body={"stream_options": {"include_usage": True}})
                format.encode_response(whole, own)
                StreamEncoder(format, own).encode(pieces)


@pytest.mark.parametrize("junk", NONE, ids=repr)
@pytest.mark.parametrize(
    ("name", "field"),
    [
        (CHAT, "completion_tokens"),
        (RESPONSES, "output_tokens"),
        (MESSAGES, "output_tokens"),
        (GEMINI, "promptTokenCount"),
    ],
)
def test_what_is_no_count_is_noted(name: str, field: str, junk: Any) -> None:
    ctx = new_context(format=name)
    event = with_usage(name, {**USAGE[name], field: junk})
    usage = library().format(name).decode_response(event.get("response", event), ctx)["usage"]
    assert ("input" if name == GEMINI else "output") not in usage
    assert [doubt for doubt in ctx["doubts"] if doubt.startswith(f"`{field}` is ")]


@pytest.mark.parametrize("name", FORMATS)
def test_usage_that_is_none_at_all(name: str) -> None:
    junk: Any
    for junk in ("many", 5, [], [1], {}, True):
        event = with_usage(name, junk)
        whole = library().format(name).decode_response(event.get("response", event), new_context(format=name))
        assert not whole.get("usage") or set(whole["usage"]) <= {"web_searches"}
        assert not told(name, event, new_context(format=name))[-1]["usage"]
