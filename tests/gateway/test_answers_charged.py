"""`kill -9` around the charge of an answer in the background: it is charged if, and only if, it can be read."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from nexeon.gateway.answers.turns import SECURED
from tests.gateway.test_answers_crash import QUICK, SECONDS, Served, prepared

__all__ = ["prepared"]

KILLED = """
import os, signal
from nexeon.gateway.settle import Settler
settle = Settler.settle
async def killed(self, exchange):
    if exchange.turn is not None and exchange.turn.background:
        if {charged}:
            await settle(self, exchange)
        os.kill(os.getpid(), signal.SIGKILL)
    await settle(self, exchange)
Settler.settle = killed
"""


def balance(served: Served) -> Decimal:
    answer = served.client.get("/me")
    assert answer.status_code == 200, answer.text
    assert Decimal(answer.json()["reserved"]) == 0, answer.text
    return Decimal(answer.json()["balance"])


@pytest.mark.parametrize("charged", [False, True])
def test_an_answer_in_one_piece(prepared: tuple[Path, str], charged: bool) -> None:
    served = Served(*prepared)
    try:
        served.start(KILLED.format(charged=charged) + QUICK)
        before = balance(served)
        id = served.ask("Hi", background=True)["id"]
        assert served.process is not None
        served.process.communicate(timeout=SECONDS)
        served.start()
        paid = before - balance(served)
        found = served.look(id)
        served.ask("Hi")
        price = before - balance(served) - paid
        if charged:
            assert (found["status"], paid) == ("completed", price)
            assert found["output"][-1]["content"][0]["text"] == "Echo: Hi"
            assert found["usage"]["output_tokens"] > 0
        else:
            assert (found["status"], paid) == ("failed", Decimal(0))
            assert found["output"] == []
        assert served.look(id) == found
        more = served.ask("And on", previous_response_id=id)
        assert more["output"][-1]["content"][0]["text"] == "Echo: And on"
    finally:
        served.end()
        served.client.close()


@pytest.mark.parametrize("charged", [False, True])
def test_a_stream(prepared: tuple[Path, str], charged: bool) -> None:
    """A crash before its charge makes that an estimated one, where the ledger knew by then that it had begun."""
    served = Served(*prepared)
    try:
        served.start(KILLED.format(charged=charged) + QUICK)
        before = balance(served)
        with served.client.stream("POST", "/responses", json={
            "model": "gpt-5", "input": "Hi", "background": True, "stream": True,
        }) as response:  # fmt: skip
            first = next(line for line in response.iter_lines() if line.startswith("data:"))
        id = json.loads(first.removeprefix("data:"))["response"]["id"]
        assert served.process is not None
        served.process.communicate(timeout=SECONDS)
        served.start()
        found = served.look(id)
        paid = before - balance(served)
        assert paid > 0 or not charged
        assert found["status"] == ("completed" if paid > 0 else "failed")
        if paid > 0:
            assert found["output"][-1]["content"][0]["text"] == "Echo: Hi"
        for _ in range(2):
            read = served.client.get(f"/responses/{id}?stream=true").text
            events = [json.loads(line[6:]) for line in read.splitlines() if line.startswith("data: ")]
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert events[-1]["type"] == f"response.{found['status']}"
            assert events[-1]["response"] == found
            assert not any(SECURED in event for event in events)
        assert served.look(id) == found
    finally:
        served.end()
        served.client.close()
