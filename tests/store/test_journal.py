"""The journal survives torn ends and nothing else, and shares its fsyncs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from nexeon.errors import StoreCorrupt, StoreUnavailable
from nexeon.store.files import write_all
from nexeon.store.journal import Journal, read, segment
from tests.patience import until


async def written(folder: Path, batches: list[list[bytes]]) -> Path:
    journal = Journal(folder, 1)
    for batch in batches:
        for line in batch:
            journal.append(line)
        await journal.durable()
    await journal.close()
    return segment(folder, 1)


BATCHES = [[b'["a"]', b'["b"]'], [b'["c"]'], [b'["d", "j1 00000000 1 2"]']]
LINES = [line for batch in BATCHES for line in batch]


async def test_what_is_appended_is_read(tmp_path: Path) -> None:
    path = await written(tmp_path, BATCHES)
    assert read(path, last=True) == (LINES, path.stat().st_size, 3)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_append_goes_on_where_the_last_process_ended(tmp_path: Path) -> None:
    path = await written(tmp_path, BATCHES)
    _, length, number = read(path, last=True)
    journal = Journal(tmp_path, 1, length, number)
    journal.append(b"more")
    await journal.close()
    assert read(path, last=True)[0] == [*LINES, b"more"]


async def test_a_torn_end_is_cut_at_every_byte(tmp_path: Path) -> None:
    path = await written(tmp_path, BATCHES)
    whole = path.read_bytes()
    last = whole.rindex(b"j1 ", 0, whole.rindex(b'["d"'))
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert read(path, last=True) == (LINES[:3], last, 2)
        path.write_bytes(whole[:end] + bytes(5000))
        assert read(path, last=True) == (LINES[:3], last, 2)


async def test_a_torn_end_is_damage_where_a_later_segment_exists(tmp_path: Path) -> None:
    path = await written(tmp_path, BATCHES)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreCorrupt, match="damaged at byte"):
        read(path, last=False)


async def test_a_changed_byte_before_the_last_batch_is_damage(tmp_path: Path) -> None:
    path = await written(tmp_path, BATCHES)
    whole = path.read_bytes()
    last = whole.rindex(b"j1 ", 0, whole.rindex(b'["d"'))
    for position in range(last):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(StoreCorrupt, match=r"journal-00000001\.log is damaged at byte"):
            read(path, last=True)


async def test_a_missing_batch_is_damage(tmp_path: Path) -> None:
    path = await written(tmp_path, BATCHES)
    whole = path.read_bytes()
    second = whole.index(b"j1 ", 3)
    path.write_bytes(whole[second:])
    with pytest.raises(StoreCorrupt):
        read(path, last=True)


async def test_all_that_arrive_together_share_an_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (syncs.append(descriptor), real(descriptor))[1])
    journal = Journal(tmp_path, 1)

    async def one(number: int) -> None:
        journal.append(b"%d" % number)
        await journal.durable()

    await asyncio.gather(*(one(number) for number in range(200)))
    assert 1 <= len(syncs) <= 2
    await journal.close()
    assert sorted(map(int, read(segment(tmp_path, 1), last=True)[0])) == list(range(200))


async def test_a_line_nobody_waits_for_is_written_soon(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    journal.append(b"alone")
    await until(lambda: read(segment(tmp_path, 1), last=True)[0])
    assert read(segment(tmp_path, 1), last=True)[0] == [b"alone"]
    await journal.close()


async def test_a_mark_parts_two_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    journal.append(b"one")
    journal.mark()
    journal.append(b"two")
    await journal.durable()
    journal.append(b"three")
    await journal.close()
    assert read(segment(tmp_path, 1), last=False)[0] == [b"one"]
    assert read(segment(tmp_path, 2), last=True)[0] == [b"two", b"three"]


async def test_what_a_full_disk_refused_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, 1)
    journal.append(b"before")
    await journal.durable()
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        real(descriptor, bytes(data)[:4], offset)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    journal.append(b"during")
    waiters = [journal.durable(), journal.durable()]
    for outcome in await asyncio.gather(*waiters, return_exceptions=True):
        assert isinstance(outcome, StoreUnavailable)
        assert "No space left on device" in str(outcome)
    assert journal.failing
    monkeypatch.setattr(os, "pwrite", real)
    journal.append(b"after")
    await journal.durable()
    assert not journal.failing
    await journal.close()
    assert read(segment(tmp_path, 1), last=True)[0] == [b"before", b"during", b"after"]


async def test_after_a_failed_fsync_nothing_is_promised_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, 1)
    real = os.fdatasync

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    journal.append(b"lost")
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        await journal.durable()
    monkeypatch.setattr(os, "fdatasync", real)
    journal.append(b"late")
    with pytest.raises(StoreUnavailable, match="restart"):
        await journal.durable()
    with pytest.raises(StoreUnavailable):
        await journal.close()


async def test_room_is_made_ahead_and_given_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    path = segment(tmp_path, 1)
    assert not journal.has_room(1)
    await journal.make_room(100_000)
    assert journal.has_room(100_000)
    assert path.stat().st_blocks * 512 >= 100_000
    journal.append(b"x" * 1000)
    await journal.durable()
    assert read(path, last=True)[0] == [b"x" * 1000]
    await journal.close()
    assert path.stat().st_size < 1100


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="without it, room is made by filling it")
async def test_much_room_is_allocated_but_not_filled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for what 100,000 calls under way may still write would take seconds, with every request behind it."""
    filled = []

    def counted(descriptor: int, data: bytes, offset: int) -> None:
        filled.append(len(data))
        write_all(descriptor, data, offset)

    monkeypatch.setattr("nexeon.store.journal.write_all", counted)
    journal = Journal(tmp_path, 1)
    room = 50 << 20
    await journal.make_room(room)
    path = segment(tmp_path, 1)
    assert path.stat().st_blocks * 512 >= room
    assert sum(filled) <= 8 << 20
    lines = [bytes([65 + number]) * (3 << 20) for number in range(6)]
    for line in lines:  # beyond what was filled, before and after more of it is
        journal.append(line)
        await journal.durable()
        await journal.make_room(room)
    assert read(path, last=True)[0] == lines
    await journal.close()
    assert read(path, last=True)[0] == lines


async def test_a_full_disk_is_found_when_room_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    journal = Journal(tmp_path, 1)
    with pytest.raises(StoreUnavailable, match="cannot grow: No space left on device"):
        await journal.make_room(10)
    await journal.close()
