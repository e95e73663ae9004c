"""Accounts & credits: over a real service."""

from __future__ import annotations

import asyncio
import csv
import os
import re
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeService
from pilots import Open, call, fill, press, settle
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import Static

from nexeon.errors import AdminError
from tui.export import PAGE, export_ledger
from tui.link import Link
from tui.screens.account import AccountScreen
from tui.screens.accounts import AccountsScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.form import FormScreen
from tui.widgets.table import RecordTable


async def accounts(pilot: Pilot[None]) -> AccountsScreen:
    await pilot.press("2", "r")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, AccountsScreen)
    return screen


async def type_in(pilot: Pilot[None], name: str, text: str) -> None:
    assert isinstance(pilot.app.screen, FormScreen)
    pilot.app.screen.line(name).focus()
    await pilot.press(*(("minus" if char == "-" else "full_stop" if char == "." else char) for char in text))


async def made(pilot: Pilot[None], name: str = "acme", usd: str = "10") -> Any:
    account = await call(pilot, "accounts.create", name=name)
    if usd:
        await call(pilot, "credits.add", account=name, usd=usd)
    return account


def lines(table: RecordTable) -> list[str]:
    return ["".join(segment.text for segment in table.render_line(y)) for y in range(table.size.height)]


async def test_money_is_shown_to_the_nano_dollar_where_there_is_little_room(open_real: Open) -> None:
    async with open_real(size=(80, 24)) as pilot:
        await made(pilot, "acme", "1234567.123456789")
        await call(pilot, "credits.add", account="acme", usd="0.000000001", reason="the smallest one")
        table = (await accounts(pilot)).table
        await settle(pilot)
        assert re.search(r"acme +1,234,567\.12 +1,234,567\.12 ", lines(table)[1])
        await press(pilot, "enter")
        shown = lines(pilot.app.screen.query_one(RecordTable))
        assert re.search(r"grant +\+0\.000000001 +1,234,567\.12345679  the sma…", shown[1]), "what gave way says so"
        assert re.search(r"grant +\+1,234,567\.123456789  1,234,567\.123456789 ", shown[2])


async def test_an_account_is_made_with_its_first_grant(open_real: Open) -> None:
    async with open_real() as pilot:
        screen = await accounts(pilot)
        assert "Press n" in str(screen.query_one("#nothing", Static).render())
        await pilot.press("n")
        await type_in(pilot, "name", "acme")
        await type_in(pilot, "usd", "12.5")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert [(item["name"], item["balance"]) for item in screen.table.items] == [("acme", "12.50")]


async def test_a_grant_is_named_and_asked_once(open_real: Open) -> None:
    async with open_real() as pilot:
        await made(pilot)
        screen = await accounts(pilot)
        await pilot.press("plus")
        await type_in(pilot, "usd", "2.5")
        await type_in(pilot, "reason", "invoice")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ConfirmScreen)
        asked = str(pilot.app.screen.query_one(".question", Static).render())
        assert asked == "Grant 2.50 USD to account `acme`?"
        await pilot.press("y")
        await settle(pilot)
        assert screen.table.items[0]["balance"] == "12.50"
        entries = (await call(pilot, "credits.ledger", account="acme"))["items"]
        assert (entries[0]["kind"], entries[0]["reason"]) == ("grant", "invoice")


async def test_what_is_not_confirmed_changes_nothing(open_real: Open) -> None:
    async with open_real() as pilot:
        await made(pilot)
        await accounts(pilot)
        await pilot.press("a")
        await type_in(pilot, "usd", "-3")
        await type_in(pilot, "reason", "mistake")
        await pilot.press("ctrl+s", "n")
        await settle(pilot)
        assert (await call(pilot, "accounts.show", account="acme"))["balance"] == "10.00"


@pytest.mark.parametrize(("usd", "wrong"), [("", "must not be empty"), ("0", "above zero"), ("ten", "above zero")])
async def test_a_wrong_amount_is_told_in_the_form(open_real: Open, usd: str, wrong: str) -> None:
    async with open_real() as pilot:
        await made(pilot)
        await accounts(pilot)
        await pilot.press("plus")
        await type_in(pilot, "usd", usd)
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert isinstance(pilot.app.screen, FormScreen)
        assert wrong in str(pilot.app.screen.query_one("#wrong", Static).render())


async def test_an_adjustment_below_what_is_there_is_refused_in_words(open_real: Open) -> None:
    async with open_real() as pilot:
        await made(pilot)
        await accounts(pilot)
        await pilot.press("a")
        await type_in(pilot, "usd", "-11")
        await type_in(pilot, "reason", "mistake")
        await pilot.press("ctrl+s", "y")
        await settle(pilot)
        form = pilot.app.screen
        assert isinstance(form, FormScreen)
        assert "account `acme` has 10.00 USD available, less than 11.00" in str(form.query_one("#wrong").render())
        assert form.values() == {"usd": "-11", "reason": "mistake"}
        fill(pilot, usd="-9")
        await press(pilot, "ctrl+s", "y")
        assert (await call(pilot, "accounts.show", account="acme"))["balance"] == "1.00"
        assert not isinstance(pilot.app.screen, FormScreen)


async def test_an_account_is_disabled_enabled_and_deleted(open_real: Open) -> None:
    async with open_real() as pilot:
        await made(pilot)
        screen = await accounts(pilot)
        await pilot.press("d", "y")
        await settle(pilot)
        assert screen.table.items[0]["disabled"] is True
        await pilot.press("d")
        await settle(pilot)
        assert screen.table.items[0]["disabled"] is False
        await pilot.press("x")
        assert "Delete account `acme`?" in str(pilot.app.screen.query_one(".question", Static).render())
        await pilot.press("y")
        await settle(pilot)
        assert screen.table.items == []
        await pilot.press("plus")
        assert pilot.app.screen is screen, "nothing is there to grant to"


async def test_the_ledger_shows_the_running_balance_and_takes_acts(open_real: Open) -> None:
    async with open_real() as pilot:
        await made(pilot)
        await call(pilot, "credits.adjust", account="acme", usd="-4", reason="correction")
        await accounts(pilot)
        await pilot.press("enter")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, AccountScreen)
        rows = [(item["amount"], item["balance"]) for item in screen.table.items]
        assert rows == [("-4.00", "6.00"), ("10.00", "10.00")]
        await pilot.press("f")
        await type_in(pilot, "usd", "1")
        await type_in(pilot, "reason", "sorry")
        await pilot.press("ctrl+s", "y")
        await settle(pilot)
        assert screen.table.items[0]["balance"] == "7.00"
        assert "7.00" in "".join(line.text for line in screen.query_one("#summary").render_lines(Region(0, 0, 90, 4)))
        await pilot.press("q")
        assert isinstance(pilot.app.screen, AccountsScreen)


async def test_the_list_shows_what_accounts_spent_this_month(open_app: Open, fake: FakeService) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await press(pilot, "2")
        lines = [pilot.app.screen.query_one(RecordTable).render_line(y).text for y in range(5)]
        for title in ("Available", "Balance", "Reserved", "Spent/month", "State"):
            assert title in lines[0], "all of it at 80 columns"
        assert [line.split()[-2] for line in lines[1:3]] == ["22.15", "3.40"]
        assert lines[4].split()[-2:] == ["0.00", "disabled"], "nothing, where nothing was charged"
        asked = next(params for method, params in fake.asked if method == "usage.list")
        assert asked == {
            "by": "account",
            "account": [account["id"] for account in fake.accounts],
            "since": "2030-03-01",
        }


async def test_an_account_shows_what_it_spent(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        await press(pilot, "2", "enter")
        assert "Spent today 0.750   this month 22.15" in str(pilot.app.screen.query_one("#summary", Static).render())
        asked = next(params for method, params in fake.asked if method == "usage.list" and params["by"] == "day")
        assert (asked["account"], asked["since"]) == (fake.accounts[0]["id"], "2030-03-01")


async def test_the_ledger_is_saved_whole(open_real: Open, tmp_path: Path) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text("before")
    async with open_real() as pilot:
        await made(pilot)
        for number in range(PAGE + 5):
            await call(pilot, "credits.adjust", account="acme", usd="0.01", reason=f"=sum({number})")
        await accounts(pilot)
        await pilot.press("enter")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, AccountScreen)
        screen._save({"path": str(path)})
        await settle(pilot)
        assert f"1,006 entries saved in {path}" in [str(note.message) for note in pilot.app._notifications]
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == PAGE + 6
    assert rows[0]["reason"] == f"'=sum({PAGE + 4})"
    assert (rows[-1]["kind"], rows[-1]["amount"], rows[-1]["balance"]) == ("grant", "10.00", "10.00")
    assert len({row["id"] for row in rows}) == len(rows)
    assert os.listdir(tmp_path) == [path.name]


class _Halting:
    """A service that gives one page, and then waits or fails."""

    where = "gateway"
    place = ""

    def __init__(self, fails: bool) -> None:
        self._fails = fails
        self._pages = 0

    async def connect(self) -> Any:
        return self

    async def call(self, method: str, /, **params: Any) -> Any:
        self._pages += 1
        if self._pages == 1:
            return {"items": [], "next": "1"}
        if self._fails:
            raise AdminError("no more")
        return await asyncio.sleep(60)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("fails", [True, False])
async def test_an_export_that_ends_early_leaves_what_was_there(tmp_path: Path, fails: bool) -> None:
    path = tmp_path / "ledger.csv"
    path.write_text("before")
    link = Link(_Halting(fails).connect, lambda: None)
    first = asyncio.Event()
    export = asyncio.create_task(export_ledger(link, "acme", path, lambda _: first.set()))
    await first.wait()
    if not fails:
        export.cancel()
    with pytest.raises(AdminError if fails else asyncio.CancelledError):
        await export
    await link.close()
    assert os.listdir(tmp_path) == ["ledger.csv"]
    assert path.read_text() == "before"


async def test_a_long_name_makes_a_file_name_that_can_be_written(open_real: Open) -> None:
    async with open_real() as pilot:
        await call(pilot, "accounts.create", name="株" * 199)
        await accounts(pilot)
        await press(pilot, "enter", "s")
        assert isinstance(pilot.app.screen, FormScreen)
        path = pilot.app.screen.values()["path"]
        assert path.startswith("株")
        assert path.endswith("-ledger.csv")
        assert len(os.fsencode(path)) < 255


async def test_a_refund_for_a_request_that_nobody_knows_says_so(open_real: Open) -> None:
    async with open_real() as pilot:
        await made(pilot)
        await accounts(pilot)
        await press(pilot, "f")
        fill(pilot, usd="0.50", request="req_typo", reason="cut short")
        await press(pilot, "ctrl+s")
        assert "Request: req_typo" in str(pilot.app.screen.query_one(".words").render())
        await press(pilot, "y")
        told = [(each.severity, str(each.message)) for each in pilot.app._notifications]
        assert ("warning", "No request `req_typo` is known, so no key got its budget back.") in told
        assert (await call(pilot, "accounts.show", account="acme"))["balance"] == "10.50"


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        ("{folder}/nowhere/x.csv", "there is no folder {folder}/nowhere"),
        ("{folder}", "{folder} is a folder: add a name"),
        ("~nobody-of-that-name/x.csv", "nobody of that name has a home folder"),
        ("{folder}/" + "x" * 300 + ".csv", "too long"),
    ],
)
async def test_a_file_that_cannot_be_is_refused_in_its_form(
    open_real: Open, tmp_path: Path, typed: str, wrong: str
) -> None:
    async with open_real() as pilot:
        await made(pilot)
        await accounts(pilot)
        await press(pilot, "enter", "s")
        fill(pilot, path=typed.format(folder=tmp_path))
        await press(pilot, "ctrl+s")
        form = pilot.app.screen
        assert isinstance(form, FormScreen)
        assert wrong.format(folder=tmp_path) in str(form.query_one("#wrong", Static).render())
