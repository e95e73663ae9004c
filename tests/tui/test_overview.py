"""Overview: figures, problems first, and the ways from them to their causes."""

from __future__ import annotations

from typing import Any

import fake_traffic
import pytest
from fakes import FakeService
from pilots import Open, press, settle, terminal
from textual.widgets import Static

from nexeon.admin import AdminClient, AdminService
from nexeon.admin.client import LocalClient
from nexeon.store.memory import MemoryStore
from nexeon.store.requests import RequestLog
from tui.screens.overview import OverviewScreen
from tui.widgets.bars import bars, resample
from tui.widgets.figure import Figure
from tui.widgets.plot import Plot
from tui.widgets.table import RecordTable


async def test_the_figures_of_the_moment(open_app: Open) -> None:
    async with open_app(size=(160, 48)) as pilot:
        screen = pilot.app.screen
        shown = {each.id: each.render().plain for each in screen.query(Figure)}
        assert "7 running" in shown["requests"]
        assert "48.28" in shown["spend"]
        assert "15 of" in shown["errors"]
        assert "420 ms p95 1.5 s" in shown["first"]
        assert len(screen.query("PlotextPlot")) == 2
        assert screen.query_one("#models", RecordTable).items[0]["model"] == "swift-2"


async def test_a_small_terminal_has_no_plots(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as pilot:
        assert not pilot.app.screen.query_one(Plot).is_on_screen or not pilot.app.screen.query("PlotextPlot")


@pytest.mark.parametrize(
    ("down", "mode", "asked"),
    [(0, "provider_keys", None), (1, "models", None), (2, "accounts", {"search": "acc_0000000000000002"})],
)
async def test_each_problem_is_one_key_away_from_its_cause(
    open_app: Open, fake: FakeService, down: int, mode: str, asked: dict[str, Any] | None
) -> None:
    async with open_app() as pilot:
        assert pilot.app.focused is pilot.app.screen.query_one("#problems")
        await pilot.press(*["j"] * down, "enter")
        await settle(pilot)
        assert pilot.app.current_mode == mode
        if asked is not None:
            assert any(asked.items() <= params.items() for _, params in fake.asked)


async def test_a_busy_model_leads_to_its_requests(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        pilot.app.screen.query_one("#models").focus()
        await pilot.press("j", "enter")
        await settle(pilot)
        assert pilot.app.current_mode == "requests"
        assert ("requests.list", "swift-2-mini") in [(method, params.get("model")) for method, params in fake.asked]


async def test_another_span(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        await pilot.press("s")
        await settle(pilot)
        assert fake.asked[-1] == ("live.show", {"span": 600, "points": 60})


async def test_what_to_do_where_nothing_happens(open_app: Open, fake: FakeService) -> None:
    def quiet(**other: Any) -> None:
        def answer(params: dict[str, Any]) -> dict[str, Any]:
            shown = fake_traffic.live(params)
            shown["traffic"]["total"]["requests"] = 0
            return shown | {"problems": []} | other

        fake.answers["live.show"] = answer

    async with open_app() as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, OverviewScreen)
        words = screen.query_one("#nothing", Static)
        assert not words.display
        for other, said in (({}, "8080"), ({"running": None}, "nexeon serve"), ({"traffic": None}, "log.enabled")):
            quiet(**other)
            await pilot.press("r")
            await settle(pilot)
            assert said in str(words.render())
        assert "Nothing needs attention" in str(screen.query_one("#fine", Static).render())


async def test_nothing_is_said_to_be_fine_while_no_gateway_answers(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        table, fine = (pilot.app.screen.query_one(name) for name in ("#problems", "#fine"))
        assert table.display
        fake.gone = True
        await press(pilot, "r")
        assert not table.display
        assert "No gateway answers. What is shown is of 17:46:40 UTC" in str(fine.render())
        fake.gone = False
        await press(pilot, "r")
        assert table.display
        assert not fine.display


def test_bars_start_at_zero() -> None:
    assert bars([0, 0], 4) == ["▁▁▁▁"]
    assert bars([0, 4, 8], 3) == ["▁▄█"]
    assert bars([1, 1000], 2, 2) == [" █", "▁█"]
    assert resample([1, 5, 2, 0], 2) == [5, 2]
    assert resample([3], 4) == [3, 3, 3, 3]
    assert resample([], 2) == [0, 0]


async def test_a_configuration_that_was_not_taken_up_says_why() -> None:
    """From the service's own words to the screen."""
    service = AdminService(MemoryStore(), requests=RequestLog(None))
    last = {"outcome": "refused", "problems": ["gateway.yaml:3: did you mean `models`?", "another"], "restart": []}
    service.live.reloaded = lambda: last

    async def connect() -> AdminClient:
        return LocalClient(service, "tester", None)

    async with terminal(connect, size=(160, 48)) as pilot:
        table = pilot.app.screen.query_one("#problems", RecordTable)
        (problem,) = table.items
        assert (problem["kind"], problem["state"]) == ("configuration", "refused")
        assert "gateway.yaml:3: did you mean `models`? (and 1 more)" in problem["words"]
        await pilot.press("enter")
        await settle(pilot)
        assert pilot.app.current_mode == "models"
