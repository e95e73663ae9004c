"""Doors and manners: keys, permissions, credit, bodies, unknown paths, lists of models."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest
from conftest import Gate, Opener
from scripts import COST, NOTED, notes, talks

from nexeon.store import to_nano

SAY = {"say": [{"who": "user", "text": "hi"}]}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer KEY"},
        {"authorization": "bearer  KEY"},
        {"x-api-key": "KEY"},
        {"x-goog-api-key": "KEY"},
        {"authorization": "Bearer placeholder", "x-api-key": "KEY"},
    ],
)
async def test_a_key_is_taken_from_any_header(gate: Gate, headers: dict[str, str]) -> None:
    gate.upstream.plays(talks())
    sent = {name: value.replace("KEY", gate.key) for name, value in headers.items()}
    async with httpx.AsyncClient(base_url=gate.url, headers=sent) as client:
        assert (await client.post("/talk", json={"model": "plain", **SAY})).status_code == 200


async def test_a_key_in_the_url_only_where_the_format_has_it_there(gate: Gate) -> None:
    gate.upstream.plays(notes())
    async with httpx.AsyncClient(base_url=gate.url) as client:
        assert (await client.post(f"/notes/noted?key={gate.key}", json={"lines": []})).json() == NOTED
        assert (await client.post(f"/talk?key={gate.key}", json={"model": "plain", **SAY})).status_code == 401


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({}, "missing_api_key"),
        ({"authorization": "Basic abc"}, "missing_api_key"),
        ({"x-api-key": "nex-sk-no"}, "invalid_api_key"),
    ],
)
async def test_without_a_good_key_401(gate: Gate, header: dict[str, str], code: str) -> None:
    async with httpx.AsyncClient(base_url=gate.url, headers=header) as client:
        answer = await client.post("/talk", json={"model": "plain", **SAY})
    assert answer.status_code == 401
    assert answer.json()["oops"]["kind"] == "authentication"
    assert answer.json()["oops"]["code"] == code
    assert answer.headers["x-should-retry"] == "false"
    assert "nex-sk-no" not in answer.text


async def test_disabled_and_expired_keys_and_accounts(gate: Gate) -> None:
    key, account = gate.store.find_key(gate.key) or pytest.fail("no key")
    for change, status, code in (
        ({"disabled": True}, 401, "key_disabled"),
        ({"expires": time.time() - 1}, 401, "key_expired"),
        ({"models": ("noted", "with/*")}, 403, "model_not_permitted"),
    ):
        await gate.store.replace(replace(key, **change))  # type: ignore[arg-type]
        answer = await gate.talk()
        assert (answer.status_code, answer.json()["oops"]["code"]) == (status, code)
    assert (await gate.client.get("/models")).json() == {"all": ["noted", "with/slash"]}
    assert (await gate.client.get("/models/plain")).status_code == 404
    await gate.store.replace(key)
    await gate.store.replace(replace(account, disabled=True))
    assert (await gate.talk()).status_code == 403
    assert not gate.upstream.calls


async def test_scopes_narrow_a_key(gate: Gate) -> None:
    gate.upstream.plays(notes())
    key, _ = gate.store.find_key(gate.key) or pytest.fail("no key")

    async def scoped(*scopes: str) -> None:
        await gate.store.replace(replace(key, scopes=scopes))

    for scopes, say in (
        (("read",), "may only read"),
        (("endpoint:/notes/*",), "may not use /talk"),
        (("provider:one",), "may not use provider 'noter'"),
        (("ip:10.0.0.0/8",), "from this address"),
    ):
        await scoped(*scopes)
        answer = await gate.talk("noted")
        assert answer.status_code == 403
        assert say in answer.json()["oops"]["say"]
        assert answer.json()["oops"]["kind"] == "permission"
    await scoped("provider:noter", "endpoint:/talk", "endpoint:/models*", "ip:127.0.0.0/8")
    answer = await gate.talk("both")
    assert answer.headers["x-nexeon-provider"] == "noter", "the first target is at a provider that it may not use"
    assert (await gate.client.get("/models")).json() == {"all": ["noted", "both", "with/slash"]}
    assert (await gate.client.get("/v1/me")).status_code == 403


async def test_an_unknown_model_in_the_documents_words(gate: Gate) -> None:
    answer = await gate.talk("unknown-model")
    assert answer.status_code == 404
    assert answer.json()["oops"] == {
        "kind": "model_not_found", "say": "Model 'unknown-model' is not available", "param": "model",
        "code": "model_not_found",
    }  # fmt: skip
    assert answer.json()["request"] == answer.headers["x-request-id"]
    other = await gate.client.post("/notes/unknown", json={"lines": []})
    assert other.status_code == 404
    assert other.json()["code"] == "model_not_found"


async def test_too_little_credit_402_and_enough_is_enough(opened: Opener) -> None:
    size = len(json.dumps({"model": "plain", **SAY, "limit": 100}, separators=(",", ":")))
    needed = (size // 4 + 1) * 1000 + 100 * 2000
    poor = await opened(credit=needed - 1)
    poor.upstream.plays(talks())
    answer = await poor.talk(limit=100)
    assert answer.status_code == 402
    assert answer.json()["oops"]["kind"] == "billing"
    assert answer.json()["oops"]["code"] == "insufficient_credits"
    assert not poor.upstream.calls
    rich = await opened(credit=needed)
    assert (await rich.talk(limit=100)).status_code == 200


async def test_a_price_per_request_and_one_target_dearer(opened: Opener) -> None:
    def change(value: dict[str, Any]) -> None:
        value["models"]["plain"]["price"] = {"input": 0, "output": 0, "request": 0.01}
        value["models"]["plain"]["targets"][0]["price"] = {"input": 1, "output": 2, "request": 0.02}

    gate = await opened(change)
    gate.upstream.plays(talks())
    await gate.talk()
    assert (await gate.last_charge()).amount == -(to_nano("0.02") + COST)


@pytest.mark.parametrize(
    ("content", "headers", "status", "param"),
    [
        (b"", {}, 400, None),
        (b"{", {}, 400, None),
        (b"[]", {}, 400, None),
        (b'{"say": []}', {}, 400, "model"),
        (b'{"model": 5, "say": []}', {}, 400, "model"),
        (b'{"model": "plain"}', {}, 400, "say"),
        (b'{"model": "plain", "say": []}', {}, 400, "say"),
        (b'{"model": "plain", "say": [{"who": "user"}, {"who": "cat"}]}', {}, 400, "say[1].who"),
        (b'{"model": "plain", "say": [{"who": "user"}, {}]}', {}, 400, "say[1].who"),
        (b'{"model": "plain", "say": [{"who": "user"}], "seed": 1.5}', {}, 400, "seed"),
        (b'{"model": "plain", "say": [{"who": "user"}], "previous": "talk_1"}', {}, 400, "previous"),
        (b'{"model": "plain", "say": [{"who": "user", "file": "f"}]}', {}, 400, "say[0].file"),
        (b"a=b", {"content-type": "application/x-www-form-urlencoded"}, 415, None),
        (b"x", {"content-encoding": "gzip"}, 415, None),
    ],
)
async def test_bad_bodies_name_the_place(
    gate: Gate, content: bytes, headers: dict[str, str], status: int, param: str | None
) -> None:
    answer = await gate.client.post("/talk", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["oops"]["param"] == param
    assert answer.headers["x-should-retry"] == "false"
    assert not gate.upstream.calls
    assert await gate.spent() == 0


async def test_a_lone_surrogate_and_huge_integers_pass_validation(gate: Gate) -> None:
    gate.upstream.plays(talks())
    raw = b'{"model": "plain", "say": [{"who": "user", "text": "\\ud83d"}], "n": 99999999999999999999999}'
    assert (await gate.client.post("/talk", content=raw)).status_code == 200
    assert b"\\ud83d" in gate.upstream.calls[0].body
    bad = raw.replace(b"user", b"cat")
    assert (await gate.client.post("/talk", content=bad)).json()["oops"]["param"] == "say[0].who"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_413(opened: Opener, chunked: bool) -> None:
    gate = await opened(lambda value: value["server"].update(body_limit=10_000))
    gate.upstream.plays(talks())
    body = json.dumps({"model": "plain", "say": [{"who": "user", "text": "x" * 20_000}]}).encode()

    async def pieces() -> Any:
        for start in range(0, len(body), 4000):
            yield body[start : start + 4000]

    answer = await gate.client.post("/talk", content=pieces() if chunked else body)
    assert answer.status_code == 413
    assert answer.json()["oops"]["kind"] == "too_large"
    assert (await gate.talk(pad="x" * 5000)).status_code == 200


async def test_a_large_body_within_the_limit(gate: Gate) -> None:
    gate.upstream.plays(talks())
    text = "x" * 3_000_000
    assert (await gate.talk(say=[{"who": "user", "text": text}])).status_code == 200
    assert gate.upstream.calls[0].json["say"][0]["text"] == text


async def test_unknown_paths_and_methods_in_the_words_of_the_nearest_format(gate: Gate) -> None:
    nowhere = await gate.client.get("/nowhere")
    assert (nowhere.status_code, nowhere.json()["oops"]["kind"]) == (404, "not_found")
    assert nowhere.headers["x-request-id"]
    beside = await gate.client.get("/notes")
    assert (beside.status_code, beside.json()["kind"]) == (404, "not_found")
    wrong = await gate.client.get("/talk")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert (await gate.client.delete("/models")).status_code == 405
    for method in ("OPTIONS", "TRACE", "PROPFIND"):
        other = await gate.client.request(method, "/talk")
        assert (other.status_code, other.headers["allow"], other.json()["oops"]["code"]) == (
            *(405, "POST"), "method_not_allowed",
        )  # fmt: skip
        assert other.headers["x-request-id"]
    assert (await gate.client.get("//talk")).status_code == 404
    assert (await gate.client.post("/")).status_code == 404


async def test_model_lists_in_the_shape_that_was_asked_for(gate: Gate) -> None:
    plain = await gate.client.get("/models")
    assert plain.json() == {"all": ["plain", "strict", "noted", "both", "with/slash"]}
    fancy = await gate.client.get("/models?limit=3&key=secret", headers={"x-fancy": "1"})
    assert fancy.json() == {"n": 5, "limit": "3"}
    one = await gate.client.get("/models/with/slash")
    assert one.json() == {
        "id": "with/slash", "owned_by": "tests", "created": 1700000000, "created_at": "2023-11-14T22:13:20Z",
        "max_output_tokens": 500,
    }  # fmt: skip
    assert (await gate.client.get("/models/nick")).json()["id"] == "with/slash"
    missing = await gate.client.get("/models/nothing", headers={"x-fancy": "1"})
    assert (missing.status_code, missing.json()["kind"]) == (404, "model_not_found")
    async with httpx.AsyncClient(base_url=gate.url) as stranger:
        assert (await stranger.get("/models")).status_code == 401


async def test_pages_of_a_model_list(gate: Gate) -> None:
    async def page(query: str) -> Any:
        return (await gate.client.get(f"/models{query}", headers={"x-pages": "1"})).json()

    everything = ["plain", "strict", "noted", "both", "with/slash"]
    assert await page("") == {"ids": everything, "more": False}
    assert await page("?n=2") == {"ids": everything[:2], "more": True}
    assert await page("?n=2&next=strict") == {"ids": everything[2:4], "more": True}
    assert await page("?n=2&next=both") == {"ids": everything[4:], "more": False}
    assert await page("?n=2&prior=both") == {"ids": everything[1:3], "more": True}
    assert await page("?n=100&prior=strict") == {"ids": everything[:1], "more": False}
    assert await page("?n=4") == await page("?n=3"), "no more than the list's longest page"
    for wrong, named in (("?n=0", "n"), ("?n=-1", "n"), ("?n=x", "n"), ("?next=nobody", "next")):
        told = await page(wrong)
        assert (told["oops"]["param"], told["oops"]["kind"]) == (named, "invalid_request")
    other = await gate.client.get("/other/models/noted")
    assert other.json() == {"name": "noted"}
    assert (await gate.client.get("/other/models")).json()["ids"] == everything


async def test_the_account_of_a_key(gate: Gate) -> None:
    gate.upstream.plays(talks())
    await gate.talk()
    me = (await gate.client.get("/v1/me")).json()
    assert me["account"] == gate.account
    assert (me["balance"], me["reserved"], me["available"]) == ("999.99998", "0.00", "999.99998")
    async with httpx.AsyncClient(base_url=gate.url) as stranger:
        assert (await stranger.get("/v1/me")).status_code == 401


async def test_health_and_metrics_need_no_key(gate: Gate) -> None:
    gate.upstream.plays(talks())
    await gate.talk()
    async with httpx.AsyncClient(base_url=gate.url) as stranger:
        assert (await stranger.get("/healthz")).json() == {"status": "ok"}
        assert (await stranger.head("/healthz")).status_code == 200
        assert (await stranger.get("/readyz")).status_code == 200
        text = (await stranger.get("/metrics")).text
    assert 'nexeon_requests_total{format="talk",provider="one",model="plain",status="200"} 1' in text
    assert f'nexeon_spend_nano_usd_total{{provider="one",model="plain"}} {COST}' in text
    assert 'nexeon_tokens_total{provider="one",model="plain",kind="output"} 5' in text
    gate.gateway.services.ready = False
    assert (await gate.client.get("/readyz")).status_code == 503
    gate.gateway.services.ready = True
