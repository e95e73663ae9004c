"""Events that are written as they come, without waking who iterates: nothing of a stream is the other for it."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import Gate, Opener
from upstream import Call, Upstream

from nexeon.config.model import Auth, Provider, Timeouts
from nexeon.gateway.chunks import Chunks
from nexeon.gateway.reader import Reader
from nexeon.gateway.server.plain import PlainCall
from nexeon.gateway.transport import DirectLine, _Sips
from nexeon.gateway.upstream import UpstreamFailure
from tests.patience import PATIENCE, until

WORDS = [f"word{number} " for number in range(40)]
TEXT = "".join(WORDS)


class Lockstep:
    """A provider that sends a text once the client has had the one before."""

    def __init__(self, events: list[Any], *, split: int = 0) -> None:
        """`split`: events come in pieces of so many bytes, none held back."""
        self.events = events
        self.split = split
        self.had = asyncio.Semaphore(0)

    async def __call__(self, call: Call) -> None:
        await call.begin_stream()
        for event in self.events:
            data = b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n\n"
            for start in range(0, len(data), self.split or len(data)):
                await call.chunk(data[start : start + (self.split or len(data))])
            if b'"text"' in data:
                await self.had.acquire()
        await call.end_stream()


def talk(*more: Any) -> list[Any]:
    return [{"id": "talk_abc"}, *({"text": word} for word in WORDS), *more]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was written at once."""
    written: list[bytes] = []
    write = PlainCall.write

    def spied(self: PlainCall, data: bytes) -> None:
        written.append(data)
        write(self, data)

    monkeypatch.setattr(PlainCall, "write", spied)
    return written


async def told(gate: Gate, provider: Lockstep, body: dict[str, Any]) -> bytes:
    """The whole stream, as the client reads it."""
    gate.upstream.plays(provider)
    out = b""
    async with gate.client.stream("POST", "/talk", json={**body, "stream": True}) as response:
        assert response.status_code == 200
        counted = 0
        async for data in response.aiter_raw():
            out += data
            for _ in range(out.count(b'"text"') - counted):
                provider.had.release()
            counted = out.count(b'"text"')
    return out


BODY = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
END = [{"end": "stop"}, {"usage": {"in": 10, "out": 5}}, b"[END]"]


@pytest.mark.parametrize("split", [0, 7])
async def test_a_stream_is_the_same_written_at_once_or_not(
    opened: Opener, at_once: list[bytes], monkeypatch: pytest.MonkeyPatch, split: int
) -> None:
    gate = await opened()

    async def ask() -> tuple[bytes, int, dict[str, Any]]:
        provider = Lockstep(talk(*END), split=split)
        before = await gate.spent()
        out = await told(gate, provider, BODY)
        spent = await gate.spent() - before
        (record,) = (await gate.log.list())[:1]
        return out, spent, await gate.log.show(record["id"])

    quick, spent, record = await ask()
    count = len(at_once)
    assert split or count >= len(WORDS) - 5
    monkeypatch.setattr(PlainCall, "has_room", lambda self: False)
    slow, charged, kept = await ask()
    assert len(at_once) == count
    assert [json.loads(text)["text"] for text in re.findall(rb'\{"text".*\}', quick)] == WORDS
    assert without_ids(quick) == without_ids(slow)
    assert spent == charged > 0
    for body in ("upstream_response", "response"):
        assert without_ids(record[body].encode()) == without_ids(kept[body].encode())
    assert record["response"].count("data:") == quick.count(b"data:")


def without_ids(data: bytes) -> list[bytes]:
    return [event for event in data.split(b"\n\n") if b'"id"' not in event]


async def test_one_that_is_estimated_pays_for_what_was_written_at_once(opened: Opener, at_once: list[bytes]) -> None:
    gate = await opened()
    provider = Lockstep(talk())
    gate.upstream.plays(provider)
    async with gate.client.stream("POST", "/talk", json={**BODY, "stream": True}) as response:
        out = b""
        async for data in response.aiter_raw():
            out += data
            if b"word39" in out:
                break
            provider.had.release()
    await until(lambda: gate.upstream.calls[0].left.is_set())
    assert len(at_once) > 30
    assert await gate.spent() >= len(TEXT) // 4 * 2000


async def test_an_error_after_what_was_written_at_once_is_told(opened: Opener, at_once: list[bytes]) -> None:
    gate = await opened()
    provider = Lockstep(talk({"oops": {"kind": "overloaded", "message": "too much"}}))
    out = await told(gate, provider, BODY)
    assert len(at_once) > 30
    assert b"word39" in out
    assert b"too much" in out.split(b"word39")[1]


class Clock:
    """A loop whose time is the test's: `fire` is the timer that was set last."""

    def __init__(self) -> None:
        self.now = 0.0
        self.when = 0.0
        self.fire: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        self.when, self.fire = self.now + delay, callback
        return SimpleNamespace(cancel=lambda: None)


class Silent:
    """An answer of which nothing comes to whoever waits."""

    def __init__(self) -> None:
        self.listener: Any = None

    async def read(self) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    def listen(self, listener: Any) -> None:
        self.listener = listener

    def rest(self) -> bytes:
        return b""

    def drop(self) -> None:
        return


async def test_what_is_written_at_once_is_no_silence_of_the_provider() -> None:
    answer, clock = Silent(), Clock()
    upstream = Mock(provider=SimpleNamespace(timeouts=SimpleNamespace(idle=100.0)))
    upstream.silent.return_value = UpstreamFailure("silent", timeout=True)
    reader = Reader(upstream, answer, keepalive=0)  # type: ignore[arg-type]
    reader._loop = clock  # type: ignore[assignment]
    heard: list[bytes] = []
    reader.listen(lambda data: heard.append(data) or len(data))  # type: ignore[func-returns-value]
    reading = asyncio.create_task(reader.read())
    await until(lambda: clock.when == 100)
    clock.now = 90
    assert answer.listener(b"one") == 3
    clock.now = 100
    clock.fire()
    assert clock.when == 190
    clock.now = 190
    clock.fire()
    with pytest.raises(UpstreamFailure, match="silent"):
        await asyncio.wait_for(reading, PATIENCE)
    assert heard == [b"one"]
    assert answer.listener is None


async def test_nobody_listens_while_nobody_waits() -> None:
    answer = Silent()
    reader = Reader(Mock(provider=SimpleNamespace(timeouts=SimpleNamespace(idle=100.0))), answer, keepalive=0)  # type: ignore[arg-type]
    reader.listen(len)
    assert answer.listener(b"one") == 0
    reading = asyncio.create_task(reader.read())
    await until(lambda: reader._waiting is not None)
    assert answer.listener(b"one") == 3
    reader.interrupt(UpstreamFailure("cut"))
    assert answer.listener(b"one") == 0
    with pytest.raises(UpstreamFailure, match="cut"):
        await asyncio.wait_for(reading, PATIENCE)


def provider(url: str) -> Provider:
    return Provider(
        "one", url, ("talk",), Auth("x-secret", "", ""), {}, None, "", None, Timeouts(), None, max_connections=10
    )


async def test_what_comes_after_what_was_left_is_left_too() -> None:
    """Two reads in one turn of the loop: whoever waits for the first has not run yet when the second comes."""
    cup = memoryview(bytearray(100))
    chunks = Chunks()
    head = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks.join(head)
    given: list[bytes] = []
    sips = _Sips(Mock(chunks=chunks, data_received=given.append), cup)

    def comes(data: bytes) -> None:
        cup[: len(data)] = data
        sips.buffer_updated(len(data))

    sips.listener = lambda data: data.index(b".")
    comes(b"5\r\nabc.e\r\n")
    comes(b"5\r\nfgh.j\r\n")
    assert given == [b"2\r\n.e\r\n", b"5\r\nfgh.j\r\n"]


async def test_nothing_is_lost_doubled_or_out_of_order(upstream: Upstream) -> None:
    """Whatever the listener takes, and however the answer comes."""
    assert sum([await heard_of(upstream, random.Random(seed)) for seed in range(12)]) > 10_000


async def heard_of(upstream: Upstream, dice: random.Random) -> int:
    """How many bytes of an answer were taken as they came."""
    body = dice.randbytes(20_000)

    async def pause(most: int) -> None:
        for _ in range(dice.randrange(most)):
            await asyncio.sleep(0)

    async def script(call: Call) -> None:
        await call.begin_stream()
        position = 0
        while position < len(body):
            piece = body[position : position + dice.choice([1, 10, 300, 5000])]
            position += len(piece)
            framed = b"%x\r\n%b\r\n" % (len(piece), piece)
            cut = dice.randrange(len(framed)) if dice.random() < 0.3 else 0
            await call.raw(framed[:cut])
            await pause(6)
            await call.raw(framed[cut:])
            await pause(6)
        await call.end_stream()

    upstream.plays(script)
    line = DirectLine(provider(upstream.url))
    answer = await line.post("/talk", b"{}", {})
    answer.sip()
    wait = SimpleNamespace(provider=SimpleNamespace(timeouts=SimpleNamespace(idle=PATIENCE)))
    reader = Reader(wait, answer, keepalive=0)  # type: ignore[arg-type]
    got: list[bytes] = []
    taken = 0

    def listen(data: bytes) -> int:
        nonlocal taken
        count = dice.choice([0, len(data), len(data), len(data), dice.randrange(len(data) + 1)])
        got.append(data[:count])
        taken += count
        return count

    reader.listen(listen)
    async with asyncio.timeout(PATIENCE):
        while (data := await reader.read()) is not None:
            got.append(data)
            await pause(3)
    await line.aclose()
    assert b"".join(got) == body
    return taken
