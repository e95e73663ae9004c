"""Parts of the way by themselves: prices, judgements, seals, messages, transports."""

from __future__ import annotations

import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from conftest import settings
from hypothesis import given
from hypothesis import strategies as st
from scripts import SAID

from nexeon.config import Price, load_config
from nexeon.errors import RequestError
from nexeon.gateway.failure import Blame, from_answer, retry_after_seconds, stream_error
from nexeon.gateway.pipe import asked_for_usage, marked, set_facts, upstream_body
from nexeon.gateway.price import cost, due, estimated_usage, price_note
from nexeon.gateway.server.app import create_app
from nexeon.gateway.validate import RequestValidator
from nexeon.gateway.way import _header_text
from nexeon.mapping import load_library
from nexeon.mapping.seals import close_envelope
from nexeon.mapping.wirefacts import wire_facts
from nexeon.store import open_store
from nexeon.store.guests import GuestStore

USD = 10**9
PRICE = Price(
    input=3 * USD, output=15 * USD, cached_input=USD // 2, cache_write=4 * USD, cache_write_1h=6 * USD,
    reasoning=20 * USD, audio_input=30 * USD, audio_output=60 * USD, image=90 * USD, request=7, web_search=11,
)  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        ({}, 7),
        ({"input": 1000}, 7 + 3_000_000),
        ({"input": 1, "output": 1}, 7 + 18_000),
        ({"cached_input": 3, "cache_write": 2, "cache_write_1h": 1}, 7 + 1_500 + 8_000 + 6_000),
        ({"output": 10, "reasoning": 4}, 7 + 6 * 15_000 + 4 * 20_000),
        ({"input": 10, "audio_input": 4, "output": 10, "audio_output": 3, "image_output": 2},
         7 + 6 * 3_000 + 4 * 30_000 + 5 * 15_000 + 3 * 60_000 + 2 * 90_000),
        ({"web_searches": 2}, 7 + 22),
        ({"output": 2, "reasoning": 5}, 7 + 5 * 20_000),
        ({"input": None, "output": -3, "cost": 1.5, "service_tier": None}, 7),
    ],
)  # fmt: skip
def test_cost(usage: dict[str, Any], nano: int) -> None:
    assert cost(PRICE, usage) == nano


def test_money_is_rounded_once() -> None:
    tiny = Price(*[400_000] * 9)
    assert cost(tiny, {"input": 1}) == 0
    assert cost(tiny, {"input": 1, "output": 1, "cached_input": 1}) == 1


def test_tiers_by_length_and_by_service() -> None:
    dear, flex = Price(*[10 * USD] * 9), Price(*[1 * USD] * 9)
    price = Price(*[2 * USD] * 9, tiers=((100, dear),), service_tiers={"flex": flex})
    assert cost(price, {"input": 100}) == 200_000
    assert cost(price, {"input": 60, "cached_input": 41}) == 1_010_000
    assert cost(price, {"input": 101, "service_tier": "flex"}) == 101_000
    assert price_note(price, {"input": 101})["input"] == 10 * USD


@given(st.dictionaries(st.sampled_from(["input", "output", "cached_input", "reasoning"]), st.integers(0, 10**9)))
def test_more_tokens_never_cost_less(usage: dict[str, int]) -> None:
    more = {**usage, "output": usage.get("output", 0) + 1}
    assert cost(PRICE, more) >= cost(PRICE, usage) >= 7


def test_what_is_not_told_is_estimated() -> None:
    assert estimated_usage(input_tokens=9, produced=41, known={}) == {"input": 9, "output": 11}
    assert estimated_usage(input_tokens=9, produced=4, known={"cached_input": 3, "output": 2}) == {
        "cached_input": 3, "output": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "used", "estimated"),
    [
        ({"input": 0, "output": 7}, {"input": 0, "output": 7}, False),
        ({"cached_input": 7, "output": 0}, {"cached_input": 7, "output": 0}, False),
        ({"input": 5.0, "output": 3.0}, {"input": 5, "output": 3}, False),
        ({"input": -5, "output": 3}, {"input": -5, "output": 3}, False),
    ],
)
def test_what_is_told_is_charged(told: dict[str, Any], used: dict[str, int], estimated: bool) -> None:
    found = due(PRICE, told, complete=True, input_tokens=9, produced=41)
    assert found == (cost(PRICE, used), used, estimated)
    assert found[0] > 7, "more than the call alone"


@pytest.mark.parametrize(
    "told", [{"extra": {"x": {"a": 1}}}, {"web_searches": 0}, {"service_tier": "flex"}, {"cost": 0.5}]
)
def test_usage_that_tells_no_tokens_is_estimated(told: dict[str, Any]) -> None:
    amount, used, estimated = due(PRICE, told, complete=True, input_tokens=9, produced=41)
    assert used == {**told, "input": 9, "output": 11}
    assert estimated
    assert amount == cost(PRICE, used) > 7


def test_a_cost_that_is_taken_needs_no_tokens() -> None:
    reported = replace(PRICE, reported=True)
    assert due(reported, {"cost": 0.5}, complete=True, input_tokens=9, produced=41)[1:] == ({"cost": 0.5}, False)


@pytest.mark.parametrize(
    ("told", "used", "estimated"),
    [
        ({"input": 5}, {"input": 5, "output": 11}, True),
        ({"output": 5}, {"output": 5, "input": 9}, True),
        ({"input": 5, "output": 3}, {"input": 5, "output": 3}, False),
        ({}, {"input": 9, "output": 11}, True),
    ],
)
def test_doubtful_usage_is_estimated_where_it_tells_nothing(
    told: dict[str, Any], used: dict[str, int], estimated: bool
) -> None:
    found = due(PRICE, told, complete=True, input_tokens=9, produced=41, doubtful=True)
    assert found == (cost(PRICE, used), used, estimated)


def test_zeros_cost_the_call_alone() -> None:
    """A provider tells them where a call goes on that has told all."""
    assert due(PRICE, {"input": 0, "output": 0}, complete=True, input_tokens=9, produced=41)[::2] == (7, False)


@pytest.mark.parametrize(
    ("status", "kind", "blame", "told"),
    [
        (400, "invalid_request", Blame.CLIENT, 400),
        (400, "context_length", Blame.CLIENT, 400),
        (400, "authentication", Blame.KEY, 503),
        (400, "model_not_found", Blame.TARGET, 502),
        (401, "upstream", Blame.KEY, 503),
        (402, "upstream", Blame.KEY, 503),
        (403, "permission", Blame.KEY, 503),
        (403, "content_policy", Blame.CLIENT, 400),
        (404, "not_found", Blame.TARGET, 502),
        (408, "timeout", Blame.BROKEN, 504),
        (413, "too_large", Blame.CLIENT, 413),
        (422, "unprocessable", Blame.CLIENT, 422),
        (429, "rate_limit", Blame.LIMITED, 429),
        (429, "billing", Blame.KEY, 503),
        (500, "internal", Blame.BROKEN, 502),
        (503, "overloaded", Blame.BROKEN, 502),
        (504, "upstream", Blame.BROKEN, 504),
        (529, "overloaded", Blame.BROKEN, 502),
        (302, "upstream", Blame.TARGET, 502),
    ],
)
def test_whose_fault_an_answer_is(status: int, kind: str, blame: Blame, told: int) -> None:
    failed = from_answer("one", status, {"kind": kind, "message": "words"}, None)
    assert (failed.blame, failed.error.status) == (blame, told)


def test_an_error_event_is_judged_by_its_kind() -> None:
    assert stream_error("one", {"kind": "overloaded", "message": ""}).error.status == 502
    assert stream_error("one", {"kind": "rate_limit", "message": "", "status": 200}).error.status == 429
    assert stream_error("one", {"kind": "upstream", "message": "", "status": 504}).error.status == 504


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "7"}, 7), ({"retry-after": "1.5"}, 1.5), ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
     ({"retry-after": "soon"}, None), ({"retry-after": "-3"}, 0), ({"retry-after": "1e9"}, None), ({}, None)],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds


def test_retry_after_as_a_date() -> None:
    seconds = retry_after_seconds({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert seconds is not None
    assert 50 < seconds <= 60


def test_the_header_of_losses_is_bounded_and_clean() -> None:
    assert _header_text(["a", "b"]) == "a, b"
    assert _header_text(["a\r\nset-cookie: x", "ü,y"]) == "a??set-cookie: x, ?;y"
    long = _header_text([f"field_{number}" for number in range(1000)])
    assert len(long) < 1100
    assert long.endswith(" more")


FACTS = wire_facts(
    {
        "request": {
            "path": "/x",
            "model": "model",
            "stream": "stream",
            "usage": {"asked": "o.usage", "set": {"o": {"usage": True}}},
            "force": {"store": False, "a.b": 1},
            "ids": ["items[*].id"],
            "seals": [{"path": "items[*].proof", "foreign": "field"}, {"path": "blobs[*].data", "foreign": "item"}],
        },
        "response": {"ids": ["id", {"path": "out[*].id", "prefix": "msg_"}]},
    }
)


def seal(provider: str, account: str = "default") -> str:
    fields = {"provider": provider, "account": account, "model": "m", "format": "talk", "kind": "signature"}
    return close_envelope({**fields, "data": f"secret of {provider}"})


def test_the_pipe_opens_envelopes_of_its_target_and_leaves_foreign_ones_out() -> None:
    body = {
        "items": [
            {"id": "msg_nex-1", "proof": seal("one"), "x": 1},
            {"id": "msg_2", "proof": seal("two"), "x": 2},
            {"proof": "bare"},
        ],
        "blobs": [{"data": seal("two")}, {"data": seal("one")}, {"data": "bare"}, {"other": 1}],
    }
    before = str(body)
    up = upstream_body(body, FACTS.request, format_name="talk", provider="one", account="default")
    assert up == {
        "items": [{"id": "msg_1", "proof": "secret of one", "x": 1}, {"id": "msg_2", "x": 2}, {"proof": "bare"}],
        "blobs": [{"data": "secret of one"}, {"data": "bare"}, {"other": 1}],
    }
    assert str(body) == before, "the client's body is not touched: another target may need it"
    other = upstream_body(body, FACTS.request, format_name="talk", provider="one", account="another")
    assert "proof" not in other["items"][0]


def test_a_body_without_ids_and_seals_is_given_on_as_it_is() -> None:
    body: dict[str, Any] = {"items": [{"x": 1}], "blobs": []}
    assert upstream_body(body, FACTS.request, format_name="talk", provider="one", account="d") is body


def test_what_is_set_in_every_body() -> None:
    body = {"model": "a", "o": {"more": 1}, "a": {"c": 2}}
    assert set_facts(body, FACTS.request, model="b", stream=True, ask_usage=True) == {
        "model": "b", "stream": True, "o": {"more": 1, "usage": True}, "store": False, "a": {"b": 1, "c": 2},
    }  # fmt: skip
    assert body == {"model": "a", "o": {"more": 1}, "a": {"c": 2}}
    assert not asked_for_usage(FACTS.request, body)
    assert asked_for_usage(FACTS.request, {"o": {"usage": True}})


def test_only_ids_with_their_prefix_are_marked() -> None:
    answer = {"id": "resp_1", "out": [{"id": "msg_1"}, {"id": "rs_1"}, {"id": 5}, {}]}
    assert marked(answer, FACTS.response_ids) == {
        "id": "resp_nex-1", "out": [{"id": "msg_nex-1"}, {"id": "rs_1"}, {"id": 5}, {}],
    }  # fmt: skip


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["parts"],
    "properties": {
        "parts": {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "required": ["type", "text"],
                        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                    },
                    {
                        "type": "object",
                        "required": ["at"],
                        "properties": {
                            "at": {"type": "object"},
                            "type": {"anyOf": [{"const": "at"}, {"type": "null"}]},
                        },
                    },
                    {
                        "type": "object",
                        "required": ["kind", "text"],
                        "properties": {"kind": {"enum": ["quiet", "soft"]}, "text": {"type": "string"}},
                    },
                    {
                        "type": "object",
                        "required": ["type", "url"],
                        "properties": {"type": {"const": "image"}, "url": {"type": "string"}},
                    },
                ]
            },
        },
        "mode": {"enum": ["a", "b"]},
        "heat": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
    },
}


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({}, "parts", "`parts` is required"),
        ({"parts": []}, "parts", "`parts` must not be empty"),
        ({"parts": 5}, "parts", "`parts` must be an array"),
        ({"parts": ["a", 5]}, "parts[1]", "`parts[1]` must be a string or an object"),
        ({"parts": [{"kind": "loud", "text": "x"}]}, "parts[0].kind",
         '`parts[0].kind` must be one of "quiet", "soft"; it is "loud"'),
        ({"parts": [{"type": "text", "at": {"x": 1}}]}, "parts[0].text", "`parts[0].text` is required"),
        ({"parts": [{"type": "text"}]}, "parts[0].text", "`parts[0].text` is required"),
        ({"parts": [{"type": "image", "url": 5}]}, "parts[0].url", "`parts[0].url` must be a string"),
        ({"parts": [{"type": "video", "url": "x"}]}, "parts[0].type",
         '`parts[0].type` must be one of "text", "at", "image"; it is "video"'),
        ({"parts": ["a"], "mode": "c"}, "mode", '`mode` must be one of "a", "b"; it is "c"'),
        ({"parts": ["a"], "heat": "hot"}, "heat", "`heat` must be a number or null"),
        ({"parts": ["a"], "heat": 3}, "heat", "`heat` must be at most 2"),
        ({"parts": ["a"], "heat": -1}, "heat", "`heat` must be at least 0"),
    ],
)  # fmt: skip
def test_a_rejected_request_is_explained(body: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        RequestValidator(SCHEMA).check(body)
    assert (caught.value.status, caught.value.param, caught.value.message) == (400, param, message)
    RequestValidator(SCHEMA).check({"parts": ["a", {"type": "text", "text": "x"}], "heat": None})


async def test_any_httpx_transport_can_stand_in(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=SAID)

    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings("http://nowhere.example")))
    config = load_config([file], environ={})
    store = GuestStore(await open_store("memory:"))
    _, key = await store.welcome("guest", 10**12)
    app = create_app(config, load_library(config.mappings), store, transport=lambda _: httpx.MockTransport(answer))
    async with app.test_app() as running:
        client = running.test_client()
        body = {"model": "plain", "say": [{"who": "user"}]}
        reply = await client.post("/talk", json=body, headers={"x-api-key": key})
        assert reply.status_code == 200
        assert (await reply.get_json())["id"] == "talk_nex-abc"
    assert str(seen[0].url) == "http://nowhere.example/base/talk"
