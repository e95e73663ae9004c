"""Answers kept for accounts."""

from __future__ import annotations

import sqlite3
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
    one = answer(background=True, events=b"[3]")
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
    await store.close()


async def test_deleted_for_good(tmp_path: Path) -> None:
    """Its words are in no file any more."""
    secret = "a very private sentence"
    store = SQLiteAnswers(tmp_path, clock=lambda: 1000.0)
    store.put(answer("r1", input=secret.encode()))
    store.put(answer("r2"))
    await store.flush()
    await store.delete("a", "r1")
    with pytest.raises(NotFound):
        await store.delete("a", "r1")
    await store.close()
    rows = sqlite3.connect(tmp_path / FILE).execute("SELECT id FROM answers").fetchall()
    assert rows == [("r2",)]


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
