"""The thread behind a journal: all that is begun is done, in its order, whoever still waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from nexeon.store.worker import Worker
from tests.patience import until


async def test_one_after_another_in_one_thread() -> None:
    worker = Worker("w")
    seen: list[tuple[int, str]] = []
    told: list[BaseException | None] = []
    for number in range(50):
        worker.do(lambda number=number: seen.append((number, threading.current_thread().name)), told.append)  # type: ignore[misc]
    await until(lambda: len(told) == 50)
    assert seen == [(number, "w") for number in range(50)]
    assert told == [None] * 50
    worker.close()


async def test_what_fails_is_told_and_the_next_is_done() -> None:
    worker = Worker("w")
    done: list[str] = []
    with pytest.raises(ZeroDivisionError):
        await worker.did(lambda: 1 // 0)
    await worker.did(lambda: done.append("next"))
    assert done == ["next"]
    worker.close()


async def test_who_is_cancelled_leaves_it_to_be_done() -> None:
    worker = Worker("w")
    begin = threading.Event()
    done: list[str] = []
    waiting = asyncio.create_task(worker.did(lambda: (begin.wait(), done.append("first"))))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    begin.set()
    await worker.did(lambda: done.append("second"))
    assert done == ["first", "second"]
    worker.close()


def test_it_is_done_when_the_loop_is_gone() -> None:
    worker = Worker("w")
    begin = threading.Event()
    done: list[str] = []

    async def work() -> None:
        worker.do(lambda: (begin.wait(), done.append("done")), lambda error: done.append("told"))

    asyncio.run(work())
    begin.set()
    worker.close()
    assert done == ["done"]


def test_without_work_there_is_no_thread() -> None:
    before = threading.active_count()
    worker = Worker("w")
    worker.close()
    assert threading.active_count() == before
