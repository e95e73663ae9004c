# ruff: noqa: ASYNC220, ASYNC240 - a test may block its loop
"""What only the engine with a folder does: recovery, checkpoints, the lock, full disks."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from tinydb import TinyDB

from nexeon.errors import InsufficientCredit, StoreCorrupt, StoreError, StoreLocked, StoreUnavailable
from nexeon.store import open_store
from nexeon.store.records import Account, ApiKey, Balance, LedgerEntry, ProviderKey
from nexeon.store.secrets import VARIABLE, digest, new_secret
from nexeon.store.tinydb_engine import TinyStore
from tests.patience import PATIENCE, until

ACCOUNT = Account("acc_1", "acme", 1.0)


async def ledger(store: TinyStore) -> list[LedgerEntry]:
    return (await store.ledger("acc_1", limit=10_000))[::-1]


def crashed(folder: Path, to: Path) -> Path:
    """A copy of the folder as a crash at this moment would leave it."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("store.lock"))
    return to


async def filled(folder: Path) -> tuple[TinyStore, str]:
    store = await TinyStore.open(folder)
    secret = new_secret()
    await store.add(ACCOUNT)
    await store.add(ApiKey("key_1", "acc_1", "k", 1.0, digest(secret), secret[-4:], models=("a*", "b"), rpm=3))
    await store.add(ProviderKey("pk_1", "p", "default", 1.0, store.seal("upstream-secret"), "cret"))
    await store.post("acc_1", "grant", 1000, reason="welcome")
    return store, secret


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store, secret = await filled(tmp_path / "deep" / "store")
    held = await store.reserve("acc_1", "key_1", 100, ttl=60, detail={"request": "r"})
    await store.settle(held, 40, detail={"usage": {"input": 1}})
    before = (await store.accounts(), await store.api_keys(), await store.all_provider_keys(), await ledger(store))
    await store.close()
    again = await TinyStore.open(tmp_path / "deep" / "store")
    assert (
        await again.accounts(),
        await again.api_keys(),
        await again.all_provider_keys(),
        await ledger(again),
    ) == before
    assert again.find_key(secret) is not None
    assert [plain for _, plain in again.provider_keys("p")] == ["upstream-secret"]
    await again.close()


async def test_checkpoints_change_nothing_that_can_be_read(tmp_path: Path) -> None:
    store, secret = await filled(tmp_path / "store")
    held = []
    for number in range(5):
        held.append(await store.reserve("acc_1", "key_1", 10, ttl=60, detail={"request": str(number)}))
        await store.post("acc_1", "grant", number)
        await store.checkpoint()
    for each in held[:3]:
        await store.settle(each, 7, detail={})
    before = (await store.accounts(), await store.api_keys(), await ledger(store), await store.balance("acc_1"))
    assert [entry.amount for entry in before[2]] == [1000, 0, 1, 2, 3, 4, -7, -7, -7]
    assert await store.entry(before[2][1].id) == before[2][1]
    copy = await TinyStore.open(crashed(tmp_path / "store", tmp_path / "copy"))
    assert (await copy.accounts(), await copy.api_keys(), await ledger(copy)) == before[:3]
    assert await copy.balance("acc_1") == Balance(before[3].balance, 0)
    assert copy.find_key(secret) is not None
    page = await copy.ledger("acc_1", before=before[2][4].id, limit=2)
    assert page == [before[2][3], before[2][2]]
    await copy.close()
    await store.close()


async def test_a_checkpoint_is_a_tinydb_file_without_secrets(tmp_path: Path) -> None:
    store, secret = await filled(tmp_path)
    await store.checkpoint()
    with TinyDB(tmp_path / "checkpoint.json", access_mode="r") as database:
        assert [each["name"] for each in database.table("accounts")] == ["acme"]
    await store.close()
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
        assert secret.encode() not in path.read_bytes()
        assert b"upstream-secret" not in path.read_bytes()


async def test_after_a_crash_orphans_that_had_begun_are_settled_and_others_released(tmp_path: Path) -> None:
    store, _ = await filled(tmp_path / "store")
    begun = await store.reserve("acc_1", "key_1", 100, ttl=60, detail={"request": "begun", "model": "m"})
    await store.begin(begun)
    await store.reserve("acc_1", "key_1", 200, ttl=60, detail={})
    await store.checkpoint()
    later = await store.reserve("acc_1", "key_1", 50, ttl=60, detail={"request": "later"})
    await store.begin(later)
    await store.post("acc_1", "grant", 1)
    copy = await TinyStore.open(crashed(tmp_path / "store", tmp_path / "copy"))
    assert await copy.reservations() == []
    assert await copy.balance("acc_1") == Balance(1001 - 100 - 50, 0)
    last = (await ledger(copy))[-2:]
    assert [(each.request, each.model, each.amount, each.estimated) for each in last] == [
        ("begun", "m", -100, True),
        ("later", "", -50, True),
    ]
    await copy.close()
    twice = await TinyStore.open(tmp_path / "copy")
    assert (await ledger(twice))[-2:] == last
    await twice.close()
    await store.close()


async def test_a_crash_at_any_step_of_a_checkpoint_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = await filled(tmp_path / "store")
    await store.checkpoint()
    await store.post("acc_1", "grant", 5)
    before = await ledger(store)
    steps = 0

    def recorded(name: str) -> None:
        real: Callable[..., object] = getattr(os, name)

        def step(*arguments: object, **named: object) -> object:
            nonlocal steps
            steps += 1
            crashed(tmp_path / "store", tmp_path / f"crash{steps}")
            return real(*arguments, **named)

        monkeypatch.setattr(os, name, step)

    for name in ("fsync", "fdatasync", "replace", "pwrite", "ftruncate", "unlink"):
        recorded(name)
    await store.checkpoint()
    monkeypatch.undo()
    await store.close()
    assert steps > 8
    for number in range(1, steps + 1):
        copy = await TinyStore.open(tmp_path / f"crash{number}")
        assert await ledger(copy) == before
        await copy.post("acc_1", "grant", 1)
        await copy.checkpoint()
        await copy.close()
        again = await TinyStore.open(tmp_path / f"crash{number}")
        assert [entry.amount for entry in await ledger(again)] == [1000, 5, 1]
        await again.close()


async def test_a_checkpoint_that_fails_is_made_up_for_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = await filled(tmp_path / "store")
    real = os.replace

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreUnavailable, match="checkpoint"):
        await store.checkpoint()
    monkeypatch.setattr(os, "replace", real)
    await store.post("acc_1", "grant", 5)
    copy = await TinyStore.open(crashed(tmp_path / "store", tmp_path / "copy"))
    assert await ledger(copy) == await ledger(store)
    await copy.close()
    before = await ledger(store)
    await store.checkpoint()
    assert await ledger(store) == before
    await store.close()


async def test_a_long_journal_becomes_a_checkpoint_on_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexeon.store.tinydb_engine.CHECKPOINT_CLOSE", 100)
    store, _ = await filled(tmp_path)
    await store.close()
    assert orjson.loads((tmp_path / "checkpoint.json").read_bytes())["accounts"]["1"]["name"] == "acme"
    assert [path.name for path in tmp_path.glob("journal-*")] == ["journal-00000002.log"]


async def test_damage_is_refused_with_the_file_and_what_to_do(tmp_path: Path) -> None:
    store, _ = await filled(tmp_path / "store")
    await store.checkpoint()
    for number in range(4):
        await store.post("acc_1", "grant", number)
    await store.close()

    def flip(path: Path, position: int) -> None:
        data = bytearray(path.read_bytes())
        data[position] ^= 1
        path.write_bytes(data)

    for name, damage in {
        "checkpoint.json": lambda path: flip(path, 200),
        "journal-00000002.log": lambda path: flip(path, 40),
        "ledger.log": lambda path: path.write_bytes(b""),
        "ledger.idx": lambda path: path.unlink(),
    }.items():
        broken = crashed(tmp_path / "store", tmp_path / f"broken-{name}")
        damage(broken / name)
        with pytest.raises(StoreCorrupt, match=rf"{name}.*backup"):
            await TinyStore.open(broken)
        shutil.rmtree(broken)
    missing = crashed(tmp_path / "store", tmp_path / "missing")
    (missing / "journal-00000002.log").unlink()
    with pytest.raises(StoreCorrupt, match="missing"):
        await TinyStore.open(missing)
    flipped = crashed(tmp_path / "store", tmp_path / "flipped")
    flip(flipped / "ledger.log", 30)
    reader = await TinyStore.open(flipped)
    with pytest.raises(StoreCorrupt, match="damaged at entry 1"):
        await reader.ledger("acc_1")
    await reader.close()


async def test_a_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from nexeon.store import open_store\n"
        "async def main():\n"
        "    store = await open_store('tinydb:' + sys.argv[1])\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "asyncio.run(main())\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "ready\n"
        with pytest.raises(StoreLocked, match=rf"held by process {holder.pid} "):
            await open_store(f"tinydb:{tmp_path}")
        waiting = asyncio.create_task(open_store(f"tinydb:{tmp_path}", wait=PATIENCE))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        holder.kill()
        await (await waiting).close()
    finally:
        holder.kill()
        holder.communicate()


async def test_a_full_disk_is_found_at_admission_and_never_at_settlement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = await filled(tmp_path)
    held = [await store.reserve("acc_1", "key_1", 1, ttl=60, detail={}) for _ in range(50)]

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    refusal = ""
    while not refusal and len(held) < 1000:
        try:
            held += [await store.reserve("acc_1", "key_1", 0, ttl=60, detail={})]
        except StoreUnavailable as error:
            refusal = str(error)
    assert "No space left on device" in refusal
    assert len(held) > 100
    size = next(tmp_path.glob("journal-*")).stat().st_size
    usage = {f"class_{number}": 123456789 for number in range(40)}
    for each in held:
        await store.begin(each)
        await store.settle(each, each.amount, detail={"usage": usage, "price": usage})
    assert next(tmp_path.glob("journal-*")).stat().st_size == size
    monkeypatch.undo()
    await store.close()


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file/store cannot be made: Not a directory"):
        await open_store(f"tinydb:{tmp_path}/file/store")


async def test_another_secret_key_leaves_the_provider_keys_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, "a passphrase of some length")
    store, _ = await filled(tmp_path)
    await store.close()
    assert not (tmp_path / "secret.key").exists()
    again = await TinyStore.open(tmp_path)
    assert [plain for _, plain in again.provider_keys("p")] == ["upstream-secret"]
    await again.close()
    monkeypatch.setenv(VARIABLE, "another one of some length")
    other = await TinyStore.open(tmp_path)
    assert list(other.provider_keys("p")) == []
    assert "encrypted with another key" in caplog.text
    await other.close()
    monkeypatch.setenv(VARIABLE, "short")
    short = await TinyStore.open(tmp_path)
    with pytest.raises(StoreError, match="too short"):
        short.seal("x")
    await short.close()


async def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(StoreError, match="no engine is called `sqlite`"):
        await open_store("sqlite:x")
    with pytest.raises(StoreError, match="tinydb:FOLDER"):
        await open_store("tinydb:")


async def test_credit_is_still_refused_after_a_restart(tmp_path: Path) -> None:
    store, _ = await filled(tmp_path)
    await store.close()
    again = await TinyStore.open(tmp_path)
    with pytest.raises(InsufficientCredit):
        await again.reserve("acc_1", "key_1", 1001, ttl=60, detail={})
    await again.close()


async def test_a_checkpoint_whose_caller_is_cancelled_ends_before_the_store_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = await filled(tmp_path)
    real = os.replace
    replaced: list[bool] = []
    begun, go = threading.Event(), threading.Event()

    def slow(source: str, target: str) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        real(source, target)
        replaced.append(store._journal.closed)

    monkeypatch.setattr(os, "replace", slow)
    running = asyncio.create_task(store.checkpoint())
    await until(begun.is_set)
    running.cancel()
    threading.Timer(0.1, go.set).start()
    with pytest.raises(asyncio.CancelledError):
        await running
    await store.close()
    assert replaced == [False]
    again = await TinyStore.open(tmp_path)
    assert [entry.amount for entry in await ledger(again)] == [1000]
    await again.close()


async def test_what_comes_while_the_store_closes_is_written_or_refused(tmp_path: Path) -> None:
    store, _ = await filled(tmp_path)
    held = [await store.reserve("acc_1", "key_1", 1, ttl=60, detail={"request": str(n)}) for n in range(200)]
    charged: list[str] = []

    async def late(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)
        await store.settle(held[number], 1, detail={})
        charged.append(str(number))

    calls = [asyncio.create_task(late(number)) for number in range(200)]
    for _ in range(20):
        await asyncio.sleep(0)
    await store.close()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    again = await TinyStore.open(tmp_path)
    settled = {entry.request for entry in await ledger(again) if entry.kind == "charge"}
    assert settled == set(charged)
    assert len(charged) >= 20
    await again.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await again.release(await again.reserve("acc_1", "key_1", 1, ttl=60, detail={}))


async def test_a_call_that_ends_after_the_store_is_settled_by_the_next_start(tmp_path: Path) -> None:
    store, _ = await filled(tmp_path)
    held = await store.reserve("acc_1", "key_1", 10, ttl=60, detail={})
    await store.begin(held)
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.settle(held, 5, detail={})
    again = await TinyStore.open(tmp_path)
    assert await again.balance("acc_1") == Balance(990, 0)
    await again.close()
