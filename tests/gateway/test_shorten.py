"""Cutting a conversation to what a model can hold."""

from __future__ import annotations

from nexeon.gateway.answers.shorten import shortened, weight


def said(n: int) -> dict[str, str]:
    return {"content": f"{n:04}"}


def test_oldest_first() -> None:
    items = [said(n) for n in range(5)]
    each = weight(items[0], 1)
    assert shortened(items, 5 * each, 1, ()) == items
    assert shortened(items, 5 * each - 1, 1, ()) == items[1:]
    assert shortened(items, 2 * each, 1, ()) == items[3:]
    assert shortened(items, 0, 1, ()) == items[4:]


def test_a_call_goes_with_its_result() -> None:
    call, result = {"call_id": "c", "content": "call"}, {"call_id": "c", "content": "back"}
    items = [call, said(1), result, said(2)]
    total = sum(weight(item, 1) for item in items)
    assert shortened(items, total - 1, 1, ("call_id",)) == [said(1), said(2)]


def test_the_last_result_keeps_its_call() -> None:
    call, result = {"call_id": "c", "content": "call"}, {"call_id": "c", "content": "back"}
    assert shortened([said(1), call, said(2), result], 0, 1, ("call_id",)) == [call, result]


def test_media_weigh_what_they_cost() -> None:
    assert weight({"url": "data:image/png;base64," + "A" * 10**6}, 4) < 2000
    assert weight("nxs1." + "A" * 10**6, 4) == 0
    assert weight("word" * 10, 4) == 10
