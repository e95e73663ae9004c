"""The request log: what is recorded is found, nothing waits for it, secrets stay out of it."""

from __future__ import annotations

import sqlite3
import stat
from functools import partial
from pathlib import Path

import pytest

from nexeon.errors import NotFound
from nexeon.store.redact import HIDDEN, redacted
from nexeon.store.requests import FILE, RequestLog

from .conftest import Clock


async def test_records_are_listed_newest_first_in_pages(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, clock=lambda: 10.0)
    for number in range(5):
        log.record({"id": f"req_{number}", "started": float(number), "account": "acc_1", "usage": {"input": number}})
    log.record({"id": "req_x", "started": 9.0, "account": "acc_2", "status": 402})
    first = await log.list(limit=2)
    assert [each["id"] for each in first] == ["req_x", "req_4"]
    rest = await log.list(before="req_4", limit=100)
    assert [each["id"] for each in rest] == ["req_3", "req_2", "req_1", "req_0"]
    assert [each["id"] for each in await log.list({"account": "acc_2", "status": 402})] == ["req_x"]
    assert [each["id"] for each in await log.list({"since": 2.0, "until": 4.0})] == ["req_3", "req_2"]
    assert (await log.show("req_3"))["usage"] == {"input": 3}
    with pytest.raises(NotFound):
        await log.show("req_9")
    await log.close()
    again = RequestLog(tmp_path, clock=lambda: 10.0)
    assert len(await again.list()) == 6
    await again.close()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "filters",
    [
        {"account": "a"},
        {"key": "k"},
        {"model": "m"},
        {"provider": "p"},
        {"status": 502},
        {"status": 201},
        {"failed": True},
        {"model": "m", "failed": True},
        {"provider": "p", "status": 418},
    ],
)
async def test_no_filter_reads_the_whole_log(tmp_path: Path, filters: dict[str, object]) -> None:
    """A file of before there was an index for each of them gets it when it is opened."""
    log = RequestLog(tmp_path)
    await log.list()
    await log.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE INDEX%'").fetchall():
            connection.execute(f"DROP INDEX {name}")
    connection.close()
    log = RequestLog(tmp_path)
    asked: list[str] = []
    await log._database.run(lambda connection: connection.set_trace_callback(asked.append))
    assert await log.list(filters) == []
    (query,) = (each for each in asked if each.startswith("SELECT facts"))
    plan = await log._database.run(lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall())
    assert all("INDEX" in step[-1] and "TEMP" not in step[-1] for step in plan), plan
    await log.close()


def _explained(connection: sqlite3.Connection, query: str) -> list[str]:
    return [step[-1] for step in connection.execute(f"EXPLAIN QUERY PLAN {query}")]


async def test_of_several_filters_the_rarest_leads_to_the_records(tmp_path: Path) -> None:
    log = RequestLog(tmp_path)
    for number in range(50):
        facts = {"id": f"req_{number}", "model": "rare" if number == 7 else "often", "provider": "p", "status": 200}
        log.record({**facts, "key": f"key_{number % 2}"})
    asked: list[str] = []
    await log.list()
    await log._database.run(lambda connection: connection.set_trace_callback(asked.append))
    for filters, index, ids in (
        ({"provider": "p", "model": "rare", "status": 200}, "requests_model", ["req_7"]),
        ({"key": "key_0", "model": "rare"}, "requests_model", []),
        ({"provider": "p", "key": "key_1", "model": "often"}, "requests_key", ["req_49", "req_47"]),
        ({"status": 201, "provider": "p"}, "requests_status", []),
        ({"provider": "p", "failed": False}, "requests_provider", ["req_49", "req_48"]),
    ):
        asked.clear()
        assert [each["id"] for each in await log.list(filters, limit=2)] == ids
        query = next(each for each in asked if each.startswith("SELECT facts"))
        steps = await log._database.run(partial(_explained, query=query))
        assert index in " ".join(steps)
    await log.close()


async def test_what_the_queue_cannot_hold_is_dropped_and_counted() -> None:
    log = RequestLog(None, queue=3)
    for number in range(10):
        log.record({"id": str(number)})
    assert log.dropped == 7
    assert len(await log.list()) == 3
    await log.close()


async def test_a_log_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    log = RequestLog(tmp_path)
    log.record({"id": "r"})
    await log.flush()
    assert log.dropped == 1
    await log.close()


async def test_records_are_kept_for_a_while(tmp_path: Path, clock: Clock) -> None:
    log = RequestLog(tmp_path, retention=1000.0, bodies=True, clock=clock)
    log.record({"id": "old", "started": clock.now, "request": b"{}"})
    await log.flush()
    clock.now += 2000
    log.record({"id": "new", "started": clock.now})
    await log.flush()
    assert [each["id"] for each in await log.list()] == ["new"]
    await log.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute("SELECT count(*) FROM bodies").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize("bodies", [False, True])
async def test_bodies_are_kept_only_where_that_is_switched_on(bodies: bool) -> None:
    log = RequestLog(None, bodies=bodies)
    log.record({"id": "r", "request": b'{"a":"nex-sk-abcdefghijkl"}', "response": b"data: {}\n\n"})
    shown = await log.show("r")
    assert shown.get("request") == ('{"a":"[redacted]"}' if bodies else None)
    assert ("response" in shown) == bodies
    assert "request" not in (await log.list())[0]
    await log.close()


def test_secrets_and_bulk_stay_out_of_bodies() -> None:
    body = b'{"headers": {"X-Api-Key": "k", "Authorization": "Bearer abcdefghijk"}, "my_pin": "1234", "max_tokens": 5}'
    assert redacted(body, 1000, ["MY-PIN"]) == (
        '{"headers":{"X-Api-Key":"[redacted]","Authorization":"[redacted]"},"my_pin":"[redacted]","max_tokens":5}'
    )
    assert redacted(b'{"api_key": "k", "token": "t"}', 1000) == f'{{"api_key":"{HIDDEN}","token":"{HIDDEN}"}}'
    assert redacted(b'{"text": "use Bearer abc.def-ghijkl now"}', 1000) == '{"text":"use [redacted] now"}'
    assert redacted(b'{"data": "' + b"QUJD" * 500 + b'"}', 1000) == '{"data":"[2000 characters]"}'
    assert redacted(b'event: x\ndata: {"secret": "s"}\n\n', 1000) == 'event: x\ndata: {"secret":"[redacted]"}\n\n'
    assert redacted(b'"' + b"a b" * 100 + b'"', 10) == '"a ba ba b… (292 more)'
