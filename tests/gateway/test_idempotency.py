"""A request that comes again under its idempotency key gets the first answer, and is charged once."""

from __future__ import annotations

import asyncio
import json
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Gate, Opener, until
from scripts import COST, EVENTS, SAID, USAGE, notes, says, streams, talks
from upstream import Call

from nexeon.config import Idempotency
from nexeon.errors import RequestError, StoreUnavailable
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.repeats.idempotency import Claim, Kept, Repeats
from nexeon.gateway.repeats.replay import Tape
from nexeon.mapping import Format, new_context
from nexeon.store.guests import GuestStore
from tests.patience import PATIENCE


async def ask(gate: Gate, key: str = "once", model: str = "plain", **more: Any) -> httpx.Response:
    body = {"model": model, "say": [{"who": "user", "text": "hi"}], **more}
    return await gate.client.post("/talk", json=body, headers={"idempotency-key": key, "x-nexeon-cost": "true"})


@pytest.mark.parametrize("model", ["plain", "noted"])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_the_first_answer_comes_again_and_is_charged_once(gate: Gate, stream: bool, model: str) -> None:
    gate.upstream.plays(talks() if model == "plain" else notes())
    first = await ask(gate, model=model, stream=stream)
    again = await ask(gate, model=model, stream=stream)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert "x-nexeon-replayed" not in first.headers
    assert again.headers["x-nexeon-replayed"] == "true"
    for name in ("content-type", "x-nexeon-provider", "x-nexeon-model"):
        assert again.headers[name] == first.headers[name]
    assert again.headers.get("x-nexeon-cost") == first.headers.get("x-nexeon-cost")
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(gate.upstream.calls) == 1
    assert await gate.spent() == COST
    assert (await ask(gate, key="other", model=model, stream=stream)).status_code == 200
    assert await gate.spent() == 2 * COST


async def test_another_body_is_422(gate: Gate) -> None:
    gate.upstream.plays(talks())
    await ask(gate)
    other = await ask(gate, limit=7)
    assert other.status_code == 422
    assert other.json()["oops"]["code"] == "idempotency_key_reused"
    assert other.headers["x-should-retry"] == "false"
    assert (await ask(gate, stream=True)).status_code == 422
    elsewhere = await gate.client.post("/notes/plain", json={"lines": ["x"]}, headers={"idempotency-key": "once"})
    assert elsewhere.status_code == 422


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_the_same_one_still_running_is_409(gate: Gate, stream: bool) -> None:
    go = asyncio.Event()

    async def waits(call: Call) -> None:
        await go.wait()
        await talks()(call)

    gate.upstream.plays(waits)
    first = asyncio.create_task(ask(gate, stream=stream))
    await until(lambda: gate.upstream.calls)
    second = await ask(gate, stream=stream)
    assert (second.status_code, second.headers["retry-after"]) == (409, "1")
    assert second.json()["oops"]["code"] == "idempotency_key_in_use"
    assert (await ask(gate, stream=stream, limit=3)).status_code == 422
    go.set()
    assert (await first).status_code == 200
    assert (await ask(gate, stream=stream)).headers["x-nexeon-replayed"] == "true"
    assert await gate.spent() == COST


async def test_at_once_only_one_is_made(gate: Gate) -> None:
    gate.upstream.plays(talks())
    answers = await asyncio.gather(*(ask(gate) for _ in range(30)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(gate.upstream.calls) == 1
    assert await gate.spent() == COST


async def test_a_failure_may_be_tried_again(gate: Gate) -> None:
    gate.upstream.plays(says({"oops": {"kind": "x", "say": "no"}}, 400), talks())
    assert (await ask(gate)).status_code == 400
    assert (await ask(gate)).status_code == 200
    gate.upstream.calls.clear()
    gate.upstream.plays(streams(*EVENTS[:2], end=None), streams(*EVENTS, USAGE))
    cut = await ask(gate, key="cut", stream=True)
    assert "[END]" not in cut.text
    whole = await ask(gate, key="cut", stream=True)
    assert "[END]" in whole.text
    assert "x-nexeon-replayed" not in whole.headers


async def test_a_client_that_left_may_come_again(gate: Gate) -> None:
    async def hangs(call: Call) -> None:
        await call.wait_left()

    async def begins(call: Call) -> None:
        await call.begin_stream()
        await call.event(EVENTS[1])
        await call.wait_left()

    for stream, script in ((False, hangs), (True, hangs), (True, begins)):
        gate.upstream.calls.clear()
        gate.upstream.plays(script)
        left = asyncio.create_task(ask(gate, key=script.__name__, stream=stream))
        await until(lambda: gate.upstream.calls)
        await asyncio.sleep(0.05)
        left.cancel()
        await asyncio.wait_for(gate.upstream.calls[0].left.wait(), PATIENCE)
        await gate.released()
        gate.upstream.plays(talks())
        assert (await ask(gate, key=script.__name__ + str(stream), stream=stream)).status_code == 200


async def test_keys_belong_to_accounts(gate: Gate) -> None:
    gate.upstream.plays(talks())
    await ask(gate)
    assert isinstance(gate.store, GuestStore)
    _, secret = await gate.store.welcome("other", 10**12)
    body = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
    headers = {"idempotency-key": "once", "authorization": f"Bearer {secret}"}
    other = await gate.client.post("/talk", json=body, headers=headers)
    assert other.status_code == 200
    assert "x-nexeon-replayed" not in other.headers
    unknown = await gate.client.post("/talk", json=body, headers={**headers, "authorization": "Bearer nex-sk-no"})
    assert unknown.status_code == 401


async def test_a_key_must_be_one(gate: Gate) -> None:
    gate.upstream.plays(talks())
    for key in ("", "x" * 256):
        assert (await ask(gate, key=key)).status_code == 400


ARRAY, EVENTS_OF = "/notes/noted/stream", "/notes/noted/stream?as=sse"


@pytest.mark.parametrize("path", ["/talk", EVENTS_OF, ARRAY], ids=["end mark", "named events", "array"])
async def test_a_long_stream_is_given_again_from_what_it_folds_to(opened: Opener, path: str) -> None:
    gate = await opened(lambda value: value.update(idempotency={"max_bytes": 40}))
    name, words = ("talk", {"text": "müh "}) if path == "/talk" else ("note", {"type": "words", "words": "müh "})
    begin, end = ([{"id": "talk_abc"}], [{"end": "stop"}, USAGE]) if path == "/talk" else ([], [NOTE_END])
    gate.upstream.plays(streams(*begin, *[words] * 500, *end, end=b"[END]" if path == "/talk" else None))
    body: dict[str, Any] = {"model": "plain", "stream": True, "say": [{"who": "user", "text": "hi"}]}
    body = body | {"options": {"usage": True}} if path == "/talk" else {"lines": ["hi"]}
    first, again, more = [
        await gate.client.post(path, json=body, headers={"idempotency-key": "once"}) for _ in range(3)
    ]
    assert again.headers["x-nexeon-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert len(again.content) < len(first.content) / 5
    format = gate.gateway.library.format(name)
    folded = [fold(format, answer.content, array=path == ARRAY) for answer in (first, again, more)]
    assert folded[0] == folded[1] == folded[2]
    assert folded[0] is not None
    assert folded[0]["blocks"] == [{"type": "text", "text": "müh " * 500}]
    assert len(gate.upstream.calls) == 1
    assert await gate.spent() == COST


NOTE_END = {"type": "finish", "tokens": [10, 5]}


def fold(format: Format, content: bytes, *, array: bool) -> Any:
    tape = Tape(format, lambda: new_context(format=format.name), array=array, most=0)
    for at in range(0, len(content), 7):
        tape.add(content[at : at + 7])
    packed = tape.packed()
    return None if packed is None else json.loads(zlib.decompress(packed))


async def test_a_large_answer_in_one_piece_is_given_again(opened: Opener) -> None:
    gate = await opened(lambda value: value.update(idempotency={"max_bytes": 40}))
    gate.upstream.plays(says({**SAID, "text": "".join(map(str, range(100_000)))}))
    first, again = await ask(gate), await ask(gate)
    assert again.content == first.content
    assert again.headers["x-nexeon-replayed"] == "true"
    assert len(gate.upstream.calls) == 1


async def test_what_is_lost_is_not_charged_twice(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk takes no answer, and where there are too many bytes in all."""
    gate.upstream.plays(talks())

    async def full(work: Any) -> None:
        raise StoreUnavailable("no room")

    with monkeypatch.context() as patch:
        for stream in (False, True):
            gate.gateway.repeats._running.clear()
            claim = await gate.gateway.repeats.claim(gate.account, f"held{stream}", "/talk", b"body")
            assert isinstance(claim, Claim)
            patch.setattr(gate.gateway.repeats._database, "run", full)
            await claim.keep(Kept(zlib.compress(b"x"), "text/plain", {}))
            patch.undo()
            with pytest.raises(RequestError, match="answered and charged") as refused:
                await gate.gateway.repeats.claim(gate.account, f"held{stream}", "/talk", b"body")
            assert (refused.value.status, refused.value.code) == (409, "idempotent_answer_not_kept")


async def test_all_answers_together_are_bounded() -> None:
    now = 1000.0
    repeats = Repeats(Idempotency(hours=1), None, Metrics(), lambda: now, most=2000)
    for number in range(258):
        now += 0.01
        claim = await repeats.claim("acc", f"k{number}", "/talk", b"body")
        assert isinstance(claim, Claim)
        await claim.keep(Kept(bytes(100), "text/plain", {}))
    assert isinstance(await repeats.claim("acc", "k256", "/talk", b"body"), Kept)
    with pytest.raises(RequestError, match="answered and charged"):
        await repeats.claim("acc", "k1", "/talk", b"body")
    await repeats.close()


async def test_it_can_be_switched_off(opened: Opener) -> None:
    gate = await opened(lambda value: value.update(idempotency={"hours": 0}))
    gate.upstream.plays(talks())
    for _ in range(2):
        assert "x-nexeon-replayed" not in (await ask(gate)).headers
    assert len(gate.upstream.calls) == 2


async def test_answers_outlive_the_process_but_not_their_time(tmp_path: Path) -> None:
    now = 1000.0
    settings = Idempotency(hours=1, entries=300)

    async def first(repeats: Repeats, key: str) -> bool:
        claim = await repeats.claim("acc", key, "/talk", b"body")
        if isinstance(claim, Claim):
            await claim.keep(Kept(zlib.compress(key.encode()), "text/plain", {"x-nexeon-a": "b", "limit": "1"}))
            return True
        assert claim == Kept(zlib.compress(key.encode()), "text/plain", {"x-nexeon-a": "b"})
        assert claim.body() == key.encode()
        return False

    repeats = Repeats(settings, tmp_path, Metrics(), lambda: now)
    assert await first(repeats, "one")
    await repeats.close()
    repeats = Repeats(settings, tmp_path, Metrics(), lambda: now)
    assert not await first(repeats, "one")
    now += 3601
    assert await first(repeats, "one")
    for number in range(600):
        now += 0.01
        assert await first(repeats, f"many{number}")
    assert await first(repeats, "one"), "the oldest went"
    assert not await first(repeats, "many599")
    assert ((tmp_path / "idempotency.sqlite3").stat().st_mode & 0o777) == 0o600
    await repeats.close()
    with pytest.raises(RequestError, match="cannot be read"):
        await repeats.claim("acc", "one", "/talk", b"body")
