"""Every way that a request goes shows in the measures, on every store; and nothing that comes from outside makes series
without end."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Gate, Opener
from scripts import COST, EVENTS, hangs, notes, resets, says, streams, talks
from served import Served, served
from test_answers import MODEL, Opened
from test_answers import library as library
from test_answers import opened as opened_answers
from upstream import Call, Script, Upstream

from nexeon.store.secrets import VARIABLE
from tests.patience import PATIENCE, until
from tests.servers import schema_url

BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
Measures = Counter[str]
answers = opened_answers


def counted(text: str) -> Measures:
    """Counters by name and labels; of histograms how many values they have."""
    found: Measures = Counter()
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            if re.match(r"nexeon_\w+_(total|count)\b", name) and 'format=""' not in name and "_loop_" not in name:
                found[name] = float(value)  # type: ignore[assignment]
    return found


def call(provider: str, model: str, *, stream: bool = False) -> dict[str, float]:
    """What each answered call adds, beside its request and its spend."""
    target = f'{{provider="{provider}",model="{model}"}}'
    seconds = ["first_answer", "call", *(["time_to_first_token", "inter_token"] if stream else [])]
    return {
        f'nexeon_upstream_attempts_total{{provider="{provider}",outcome="ok"}}': 1,
        f'nexeon_tokens_total{{provider="{provider}",model="{model}",kind="input"}}': 10,
        f'nexeon_tokens_total{{provider="{provider}",model="{model}",kind="output"}}': 5,
        f"nexeon_spend_nano_usd_total{target}": COST,
        "nexeon_attempts_count": 1,
        **{f"nexeon_{name}_seconds_count{target}": 1 for name in seconds},
    }


def request(format: str, provider: str, model: str, status: int) -> dict[str, float]:
    labels = f'format="{format}",provider="{provider}",model="{model}",status="{status}"'
    return {f"nexeon_requests_total{{{labels}}}": 1}


def attempts(*outcomes: str) -> dict[str, float]:
    counts = Counter(f'nexeon_upstream_attempts_total{{provider="one",outcome="{outcome}"}}' for outcome in outcomes)
    return {**counts, "nexeon_attempts_count": 1}


async def breaks_off(call: Call) -> None:
    await call.begin_stream()
    for event in EVENTS[:2]:
        await call.event(event)
    call.writer.close()  # after what was sent, which a reset could overtake


WAYS: dict[str, tuple[Script, dict[str, Any], dict[str, float]]] = {
    "pipe": (talks(), {}, {**request("talk", "one", "plain", 200), **call("one", "plain")}),
    "piped stream": (
        talks(), {"stream": True}, {**request("talk", "one", "plain", 200), **call("one", "plain", stream=True)}
    ),
    "translated": (
        notes(), {"model": "noted", "top": 3},
        {
            **request("talk", "noter", "noted", 200), **call("noter", "noted"),
            'nexeon_dropped_fields_total{provider="noter",field="top"}': 1,
        },
    ),
    "translated stream": (
        notes(), {"model": "noted", "stream": True},
        {**request("talk", "noter", "noted", 200), **call("noter", "noted", stream=True)},
    ),
    "something lost of an answer": (
        says({"note": "x", "aside": 1, "cut": False, "tokens": [10, 5]}), {"model": "noted"},
        {
            **request("talk", "noter", "noted", 200), **call("noter", "noted"),
            'nexeon_response_losses_total{provider="noter"}': 1,
        },
    ),
    "unknown model": (talks(), {"model": "nobody"}, request("talk", "", "", 404)),
    "bad request": (
        talks(), {"say": [{"who": "user", "text": 7}], "model": "noted"},
        {**request("talk", "", "noted", 400), "nexeon_attempts_count": 1},
    ),
    "refused by the provider": (
        says({"oops": {"say": "no"}}, 400), {}, {**request("talk", "one", "plain", 400), **attempts("client")}
    ),
    "failed": (resets, {}, {**request("talk", "one", "plain", 502), **attempts("broken", "broken")}),
}  # fmt: skip


@pytest.fixture(params=["tinydb", "postgresql"])
async def server(
    request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setenv(VARIABLE, "a secret that only tests know")
    url = await schema_url(tmp_path) if request.param == "postgresql" else f"tinydb:{tmp_path / 'data'}"

    def change(value: dict[str, Any]) -> None:
        value["store"] = {"url": url}
        value["retry"] = {"rounds": 2}
        value["breaker"] = {"failures": 0}
        value["limits"] = {"model": {"rpm": 1000}}

    found = served(tmp_path, upstream.url, change)
    await found.begin()
    yield found
    await found.end()


async def measured(http: httpx.AsyncClient) -> Measures:
    return counted((await http.get("http://gateway/metrics" if http.base_url.host == "gateway" else "/metrics")).text)


async def growth(http: httpx.AsyncClient, before: Measures, name: str, least: float = 1) -> Measures:
    """What was counted since, once so much of one measure was."""
    async with asyncio.timeout(PATIENCE):
        while (added := await measured(http) - before)[name] < least:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return added


async def test_every_way_is_counted(server: Served, upstream: Upstream) -> None:
    wrong = {}
    async with server.client() as http:
        for way, (script, more, expected) in WAYS.items():
            upstream.plays(script)
            upstream.calls.clear()
            before = await measured(http)
            await http.post("/talk", json={**BODY, **more})
            added = dict(await growth(http, before, "nexeon_attempts_count", expected.get("nexeon_attempts_count", 0)))
            if added != expected:
                wrong[way] = (added, expected)
    assert wrong == {}


async def test_a_stream_that_is_cut_is_counted_by_who_cut_it(server: Served, upstream: Upstream) -> None:
    held = asyncio.Event()

    async def holds(call: Call) -> None:
        await call.begin_stream()
        for event in EVENTS[:2]:
            await call.event(event)
        await held.wait()
        await call.wait_left()

    def cut(by: str) -> str:
        return f'nexeon_streams_cut_total{{provider="one",model="plain",by="{by}"}}'

    async with server.client() as http:
        upstream.plays(breaks_off, holds)
        await http.post("/talk", json={**BODY, "stream": True})
        async with http.stream("POST", "/talk", json={**BODY, "stream": True}) as stream:
            await anext(stream.aiter_lines())
        held.set()
        found = await growth(http, Counter(), cut("client"))
        assert (found[cut("provider")], found[cut("client")]) == (1, 1)
        assert found['nexeon_estimated_charges_total{provider="one",model="plain"}'] == 2
        assert found["nexeon_attempts_count"] == 2
        # one that leaves before it is answered
        upstream.plays(hangs)
        upstream.calls.clear()
        asked = asyncio.create_task(http.post("/talk", json=BODY))
        await until(lambda: len(upstream.calls) == 1)
        asked.cancel()
        await asyncio.wait([asked])
        await growth(http, Counter(), 'nexeon_upstream_attempts_total{provider="one",outcome="cancelled"}')


async def test_limits_repeats_refusals_and_what_is_shed_are_counted(opened: Opener) -> None:
    def change(value: dict[str, Any]) -> None:
        value["limits"] = {"model": {"rpm": 3}}
        value["providers"]["one"]["keys"] = [{"key": "second"}, {"key": "third"}]

    gate = await opened(change)
    gate.upstream.plays(says({"oops": {"say": "slow"}}, 429), says({"oops": {"say": "who"}}, 401), talks())
    answered = [(await gate.talk()).status_code for _ in range(2)]
    headers = {"idempotency-key": "once"}
    again = [await gate.client.post("/notes/noted", json={"lines": ["x"]}, headers=headers) for _ in range(2)]
    other = await gate.client.post("/notes/noted", json={"lines": ["y"]}, headers=headers)
    limited = [(await gate.talk()).status_code for _ in range(3)]
    gate.gateway.admission.settings = type(gate.gateway.admission.settings)(running=0, queue=0)
    shed = (await gate.talk()).status_code
    stranger = (await gate.client.post("/talk", json=BODY, headers={"authorization": "Bearer nobody"})).status_code
    found = counted((await gate.client.get("/metrics")).text)
    assert (shed, stranger, limited[-1], other.status_code) == (503, 401, 429, 422), (answered, again, limited)
    for name, least in {
        'nexeon_limited_total{scope="model",unit="requests"}': 1,
        'nexeon_shed_total{reason="full"}': 1,
        'nexeon_idempotent_repeats_total{outcome="different"}': 1,
        'nexeon_provider_key_rests_total{provider="one",state="cooling"}': 1,
        'nexeon_provider_key_rests_total{provider="one",state="removed"}': 1,
        'nexeon_requests_total{format="talk",provider="",model="",status="503"}': 1,
        'nexeon_requests_total{format="talk",provider="",model="",status="401"}': 1,
    }.items():
        assert found[name] >= least, (name, found)


@pytest.mark.parametrize("mode", [{}, {"stream": True}, {"background": True}, {"background": True, "stream": True}])
async def test_an_answer_that_is_a_resource_is_counted_once(answers: Opened, mode: dict[str, bool]) -> None:
    """However it is asked for: in the background too, where its request ends before it."""
    client, _ = await answers()
    before = await measured(client)
    told = await client.post("/responses", json={"model": MODEL, "input": "Hi", **mode})
    assert told.status_code == 200
    added = await growth(client, before, "nexeon_attempts_count")
    if not mode.get("stream"):
        assert (await client.get(f"/responses/{told.json()['id']}")).status_code == 200
    provider = next(name for name in added if name.startswith("nexeon_call_seconds")).split('"')[1]
    target = f'{{provider="{provider}",model="{MODEL}"}}'
    assert added[f"nexeon_call_seconds_count{target}"] == 1
    assert added[f"nexeon_first_answer_seconds_count{target}"] == 1
    assert added[f'nexeon_upstream_attempts_total{{provider="{provider}",outcome="ok"}}'] == 1
    assert added[f"nexeon_spend_nano_usd_total{target}"] > 0
    assert sum(value for name, value in added.items() if name.startswith("nexeon_tokens_total")) > 0
    asked = [name for name in added if name.startswith("nexeon_requests_total") and f'model="{MODEL}"' in name]
    assert sum(added[name] for name in asked) == 1


HOSTILE = 480


def hostile(number: int) -> Callable[[Gate], Awaitable[httpx.Response]]:
    """A request of which everything that a client can choose is like no other's."""
    name = f"{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}{number:x}"

    async def send(gate: Gate) -> httpx.Response:
        body = {**BODY, name: 1, f"deep_{name}": {name: [name]}, "needs": name, "top": 3}
        key = {"authorization": f"Bearer nex-sk-{name}"}
        told = {
            "x-request-id": name, "idempotency-key": name, "user-agent": name, "x-wish": name, "traceparent": name,
            f"x-{name}": name, "anthropic-version": name, "host": f"{name}.example",
        }  # fmt: skip
        ways = (
            gate.client.post("/talk", json={**body, "model": name}, headers=told),
            gate.client.post("/talk", json=body, headers=told),
            gate.client.post("/talk", json={**body, "model": "noted"}, headers=told),
            gate.client.post("/talk", json=body, headers=key),
            gate.client.post(f"/notes/{name}", json={"lines": ["x"], name: 1}),
            gate.client.get(f"/{name}/{name}?{name}={name}", headers=told),
            gate.client.request(name.upper(), "/talk"),
            gate.client.post("/talk", content=name.encode(), headers=told),
        )
        for unused in ways[: number % len(ways)] + ways[number % len(ways) + 1 :]:
            unused.close()
        return await ways[number % len(ways)]

    return send


async def test_what_comes_from_outside_makes_no_series_without_end(opened: Opener) -> None:
    """Models, paths, methods, headers, fields, provider's statuses, error codes and events, each another one."""
    counter = 0

    async def strange(call: Call) -> None:
        nonlocal counter
        counter += 1
        word = f"word{counter:x}"
        match counter % 4:
            case 0:
                problem = {"oops": {"kind": word, "say": word, "param": word, "code": word}}
                await call.answer(problem, 400 + counter % 100, {f"x-{word}": word})
            case 1 if call.json.get("stream"):
                await streams({word: 1}, {"strange": word}, {"text": "x"}, {"end": word}, {"usage": {word: 1}})(call)
            case _:
                answer = {"id": word, "text": "x", "end": word, "usage": {"in": 1, "out": 1, word: 9}, "model": word}
                await call.answer({**answer, word: word, "note": word, "tokens": [1, 1]}, 200, {word: word})

    def change(value: dict[str, Any]) -> None:
        for provider in value["providers"].values():
            provider["key_rest"] = False
        value["retry"] = {"rounds": 1}
        value["breaker"] = {"failures": 0}

    gate = await opened(change)
    gate.upstream.plays(strange)
    sizes = []
    for begin in range(0, HOSTILE, 50):
        asked = [hostile(number)(gate) for number in range(begin, begin + 50)]
        asked += [gate.talk(stream=True) for _ in range(4)]
        await asyncio.gather(*asked)
        sizes.append(len((await gate.client.get("/metrics")).text.splitlines()))
    await gate.released()
    text = (await gate.client.get("/metrics")).text
    assert counter > HOSTILE / 4
    labels: dict[str, set[str]] = {}
    for name, value in re.findall(r'(\w+)="([^"]*)"', text):
        labels.setdefault(name, set()).add(value)
    assert labels["status"] <= {str(status) for status in (200, *range(400, 600))}
    assert labels["model"] <= {"", *gate.gateway.config.models}
    assert labels["provider"] <= {"", *gate.gateway.config.providers}
    assert (labels["format"], labels["target"]) == ({"", "talk", "note"}, {"plain-up", "noted-up"})
    told = set(labels) - {"status", "model", "provider", "format", "target", "version", "le"}
    words = {value for name in told for value in labels[name]}
    assert not [word for word in words if re.search(r"\d|word", word)], words
    assert len(words) < 20
    assert sizes[-1] - sizes[len(sizes) // 2] < 40, sizes  # but for the provider's statuses, of which there are 100
