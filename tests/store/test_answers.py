"""Answers kept for accounts."""

from __future__ import annotations

import random
import sqlite3
import zlib
from pathlib import Path

import pytest

from nexeon.errors import NotFound, StoreUnavailable
from nexeon.store.answers import FILE, Answer, SQLiteAnswers

DAY = 86_400.0


def answer(id: str = "r1", *, account: str = "a", previous: str | None = None, **more: object) -> Answer:
    facts = {"created": 1000.0, "status": "completed", "body": b'{"id":"r1"}', "input": b"[1]", "output": b"[2]"}
    return Answer(account=account, id=id, previous=previous, **{**facts, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("flushed", [False, True])
async def test_kept(tmp_path: Path, flushed: bool) -> None:
    store = SQLiteAnswers(tmp_path, clock=lambda: 1000.0)
    one = answer(background=True, streamed=True, touched=1000.0)
    assert store.put(one)
    if flushed:
        await store.flush()
    assert await store.get("a", "r1") == one
    with pytest.raises(NotFound):
        await store.get("b", "r1")
    assert store.put(answer(status="failed"))
    assert (await store.get("a", "r1")).status == "failed"
    await store.close()
    again = SQLiteAnswers(tmp_path, clock=lambda: 1000.0)
    assert (await again.get("a", "r1")).status == "failed"
    await again.close()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


async def test_chain(tmp_path: Path) -> None:
    store = SQLiteAnswers(tmp_path, clock=lambda: 1000.0)
    for n in range(4):
        store.put(answer(f"r{n}", previous=f"r{n - 1}" if n else None))
    store.put(answer("r1", account="b", previous="r0"))
    assert [one.id for one in await store.chain("a", "r3")] == ["r0", "r1", "r2", "r3"]
    with pytest.raises(NotFound):
        await store.chain("b", "r1")  # the one before is another account's
    await store.delete("a", "r1")
    with pytest.raises(NotFound):
        await store.chain("a", "r3")
    store.put(answer("r8", previous="r9"))
    store.put(answer("r9", previous="r8"))
    with pytest.raises(NotFound, match="no end"):
        await store.chain("a", "r9")
    await store.close()


def files_with(folder: Path, bytes_: bytes) -> list[str]:
    return [file.name for file in folder.iterdir() if bytes_ in file.read_bytes()]


async def test_deleted_for_good(tmp_path: Path) -> None:
    """What it said is in no file any more, the log of changes included, and the file is smaller."""
    secrets = {f"r{n}": random.Random(n).randbytes(20_000) for n in range(8)}
    store = SQLiteAnswers(tmp_path, clock=lambda: 1000.0)
    for id, secret in secrets.items():
        store.put(answer(id, input=secret))
        store.append("a", id, 0, [b'{"event":"' + secret.hex().encode() + b'"}'])
    await store.flush()
    assert files_with(tmp_path, secrets["r1"][9000:9050])
    await store.delete("a", "r7")
    before = (tmp_path / FILE).stat().st_size
    for id in ("r1", "r3", "r4"):
        await store.delete("a", id)
        assert not files_with(tmp_path, secrets[id][9000:9050])
        assert await store.events("a", id) == []
    assert (tmp_path / FILE).stat().st_size < before - 3 * 30_000
    with pytest.raises(NotFound):
        await store.delete("a", "r1")
    assert (await store.get("a", "r2")).input == secrets["r2"]
    await store.close()
    rows = sqlite3.connect(tmp_path / FILE).execute("SELECT id FROM answers").fetchall()
    assert rows == [("r0",), ("r2",), ("r5",), ("r6",)]


async def test_oldest_go_first(tmp_path: Path) -> None:
    """An account has so much room; another one's answers are left alone."""
    store = SQLiteAnswers(tmp_path, account_bytes=100_000, clock=lambda: 1000.0)
    store.put(answer("other", account="b", created=1.0, input=random.Random(99).randbytes(90_000)))
    for n in range(10):
        store.put(answer(f"r{n}", created=10.0 + n, input=random.Random(n).randbytes(24_000)))
        await store.flush()
    left = []
    for n in range(10):
        try:
            left.append((await store.get("a", f"r{n}")).id)
        except NotFound:
            continue
    assert left == ["r6", "r7", "r8", "r9"]
    assert (await store.get("b", "other")).id == "other"
    # events count, too
    noise = random.Random(7).randbytes(30_000).hex().encode()
    store.append("a", "r9", 0, [b'{"e":"' + noise + b'"}'])
    await store.flush()
    with pytest.raises(NotFound):
        await store.get("a", "r6")
    assert len(await store.events("a", "r9")) == 1
    # the last one stays, whatever it takes
    store.put(answer("large", created=99.0, input=random.Random(5).randbytes(120_000)))
    await store.flush()
    assert (await store.get("a", "large")).id == "large"
    with pytest.raises(NotFound):
        await store.get("a", "r9")
    # one that is put again counts once
    for _ in range(20):
        store.put(answer("large", created=99.0, input=b"x"))
        store.put(answer("small", created=98.0, input=random.Random(6).randbytes(50_000)))
        await store.flush()
    assert (await store.get("a", "small")).id == "small"
    await store.close()


async def test_events() -> None:
    """They come back in order, from any number on; what is given again from a number on replaces what was there."""
    store = SQLiteAnswers(None, clock=lambda: 1000.0)
    store.append("a", "nobody", 0, [b"{}"])
    await store.flush()
    assert await store.events("a", "nobody") == []
    store.put(answer("r1", streamed=True))
    told = [b'{"n":%d}' % n for n in range(9)]
    for n in range(3):
        store.append("a", "r1", n, [told[n]])
    assert await store.events("a", "r1") == told[:3]
    store.append("a", "r1", 3, told[3:5])
    store.append("a", "r1", 5, told[5:])
    assert await store.events("a", "r1", 4) == told[4:]
    store.append("a", "r1", 7, [b"[7]"])
    assert await store.events("a", "r1") == [*told[:7], b"[7]"]
    store.append("a", "r1", 0, told)
    store.append("a", "r1", 8, [b"[8]"])
    assert await store.events("a", "r1") == [*told[:8], b"[8]"]
    store.put(answer("r1", streamed=True, status="failed"))
    assert await store.events("a", "r1", 7) == [told[7], b"[8]"]
    assert await store.events("b", "r1") == []
    await store.close()


async def test_renewed() -> None:
    now = [1000.0]
    store = SQLiteAnswers(None, clock=lambda: now[0])
    store.put(answer(status="queued"))
    now[0] = 1005.0
    assert await store.renew("a", "r1") == "queued"
    assert (await store.get("a", "r1")).touched == 1005.0
    with pytest.raises(NotFound):
        await store.renew("b", "r1")
    await store.close()


async def test_a_file_of_an_earlier_version(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript(
        """CREATE TABLE answers (account TEXT NOT NULL, id TEXT NOT NULL, created REAL NOT NULL, expires REAL NOT NULL,
        status TEXT NOT NULL, background INTEGER NOT NULL, previous TEXT, body BLOB NOT NULL, input BLOB NOT NULL,
        output BLOB NOT NULL, events BLOB, PRIMARY KEY (account, id)) WITHOUT ROWID;"""
    )
    packed = zlib.compress(b"[]")
    row = ("a", "old", 1.0, 9e9, "completed", 0, None, packed, packed, packed, None)
    old.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    old.commit()
    old.close()
    store = SQLiteAnswers(tmp_path, clock=lambda: 1000.0)
    assert (await store.get("a", "old")).status == "completed"
    store.put(answer("new"))
    await store.flush()
    assert (await store.get("a", "new")).id == "new"
    await store.close()


async def test_time_is_over(tmp_path: Path) -> None:
    now = [1000.0]
    store = SQLiteAnswers(tmp_path, ttl=DAY, clock=lambda: now[0])
    store.put(answer())
    await store.flush()
    now[0] += DAY - 1
    assert (await store.get("a", "r1")).id == "r1"
    now[0] += 2
    with pytest.raises(NotFound):
        await store.get("a", "r1")
    await store.sweep()
    store.put(answer("r2", created=now[0]))
    await store.close()
    rows = sqlite3.connect(tmp_path / FILE).execute("SELECT id FROM answers").fetchall()
    assert rows == [("r2",)]


async def test_too_large() -> None:
    store = SQLiteAnswers(None, max_bytes=100, clock=lambda: 1000.0)
    assert not store.put(answer(input=b"x" * 100))
    with pytest.raises(NotFound):
        await store.get("a", "r1")
    assert store.put(answer(input=b"x" * 50))
    await store.close()


async def test_disk_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An answer that cannot be written is lost, and said to be; reading tells that it failed."""
    (tmp_path / FILE).mkdir()
    store = SQLiteAnswers(tmp_path, clock=lambda: 1000.0)
    assert store.put(answer())
    await store.flush()
    assert "could not be kept" in caplog.text
    with pytest.raises(StoreUnavailable):
        await store.get("a", "r1")
    await store.close()


@pytest.mark.parametrize("flushed", [False, True])
async def test_found_by_its_items(flushed: bool) -> None:
    store = SQLiteAnswers(None, clock=lambda: 1000.0)
    store.put(answer("r1", items=("msg_1", "fc_1")))
    store.put(answer("r2", items=("msg_1",)))
    if flushed:
        await store.flush()
    assert (await store.holding("a", "fc_1")).id == "r1"
    assert (await store.holding("a", "msg_1")).id == "r2"
    for account, item in (("b", "fc_1"), ("a", "none")):
        with pytest.raises(NotFound):
            await store.holding(account, item)
    await store.delete("a", "r1")
    with pytest.raises(NotFound):
        await store.holding("a", "fc_1")
    await store.close()
