"""Screens about one thing are kept: each shows what was opened now, and nothing of what it showed before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeService
from pilots import Open, press, settle
from textual.pilot import Pilot
from textual.widgets import TextArea

from nexeon.errors import AdminError
from tests.patience import until
from tui.places import OPENED, opened
from tui.screens.account import AccountScreen
from tui.screens.explain import ExplainScreen
from tui.screens.key import KeyScreen
from tui.screens.opened import OpenedScreen
from tui.screens.request import RequestScreen
from tui.screens.secret import SecretScreen
from tui.themes import LIGHT
from tui.widgets.bodies import BodyPane
from tui.widgets.tabs import TabLine

WAYS = {
    "account": ("2", "enter"),
    "key": ("3", "enter"),
    "explain": ("5", "e"),
    "request": ("6", "enter"),
    "record": ("5", "enter"),
}
BIG = (150, 45)


def picture(pilot: Pilot[None]) -> list[str]:
    """The lines of the screen in front."""
    return ["".join(text for text, *_ in line) for line in pilot.app.screen._compositor.render_strips()]


def painted(pilot: Pilot[None]) -> list[list[tuple[str, str]]]:
    """Its characters with their colours."""
    lines = pilot.app.screen._compositor.render_strips()
    return [[(sign, str(style)) for text, style, *_ in line for sign in text] for line in lines]


def told(pilot: Pilot[None]) -> str:
    return "\n".join(picture(pilot))


class Gate:
    """Holds back the answers of some methods until it is opened."""

    def __init__(self, fake: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held: set[str] = set()
        self.reached: list[str] = []
        call = fake.call

        async def held_call(method: str, /, **params: Any) -> Any:
            if method in self.held:
                self.reached.append(method)
            await until(lambda: method not in self.held)
            return await call(method, **params)

        monkeypatch.setattr(fake, "call", held_call)


@pytest.fixture
def gate(fake: FakeService, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(fake, monkeypatch)


@pytest.mark.parametrize("way", WAYS)
async def test_a_screen_is_kept_and_is_the_same_as_a_new_one(open_app: Open, fake: FakeService, way: str) -> None:
    """After another theme, another size, and another thing that was opened."""
    place, enter = WAYS[way]
    del fake.requests[9:]
    async with open_app(size=BIG, theme=LIGHT.name) as pilot:
        await press(pilot, place, enter)
        expected = painted(pilot)
    async with open_app(size=(90, 26)) as pilot:
        await press(pilot, place, "j", enter)
        screen = pilot.app.screen
        assert isinstance(screen, OpenedScreen)
        await press(pilot, "tab", "escape")
        if pilot.app.screen is screen:  # the first one was for a field
            await press(pilot, "escape")
        await press(pilot, "k", "ctrl+t")
        await pilot.resize_terminal(*BIG)
        await settle(pilot)
        await press(pilot, enter)
        assert pilot.app.screen is screen
        assert painted(pilot) == expected


@pytest.mark.parametrize("way", sorted(WAYS.keys() - {"record"}))  # which asks for nothing
async def test_a_lost_gateway_leaves_nothing_of_the_one_before(open_app: Open, fake: FakeService, way: str) -> None:
    place, enter = WAYS[way]
    fake.keys[1]["models"] = ["granite-*"]
    async with open_app(size=BIG) as pilot:
        await press(pilot, place, enter)
        first = told(pilot)
        await press(pilot, "q", "j")
        fake.gone = True
        await press(pilot, enter)
        second = told(pilot)
        secrets, known, asked = {
            "account": (("184.25", "acme", "invoice 4711"), "12.00431", "invoice 4711"),
            "key": (("16.30", "swift-2", "alpine"), "granite-*", "No request with this key"),
            "explain": (("alpine", "rivers", "seed"), "swift-2-mini", "rivers"),
            "request": (("req_0000000000000000", "110 ms", "503"), "req_0000000000000001", "Answers"),
        }[way]
        for words in secrets:
            assert words in first, words
            assert words not in second, words
        assert known in second
        fake.gone = False
        await press(pilot, "r")
        assert asked not in second
        assert asked in told(pilot)


async def test_what_is_answered_late_is_of_what_was_opened_then(open_app: Open, fake: FakeService, gate: Gate) -> None:
    async with open_app(size=BIG) as pilot:
        await press(pilot, "2")
        gate.held = {"accounts.show", "credits.ledger", "usage.list"}
        await pilot.press("enter")
        await until(lambda: gate.held <= set(gate.reached))
        # known from the list, and drawn though nothing is answered
        await until(lambda: isinstance(pilot.app.screen, AccountScreen) and "184.25" in told(pilot))
        await pilot.press("q")
        await until(lambda: len(pilot.app.screen_stack) == 1)
        await pilot.press("j", "enter")
        await until(lambda: isinstance(pilot.app.screen, AccountScreen) and "12.00431" in told(pilot))
        gate.held = set()
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, AccountScreen)
        assert "blue-harbour" in told(pilot)
        assert "184.250000" not in told(pilot).split("Amount")[0]
        assert {item["account"] for item in screen.table.items} == {fake.accounts[1]["id"]}


async def test_bodies_are_gone_with_their_request(open_app: Open, fake: FakeService) -> None:
    show = fake.answers["requests.show"]
    async with open_app(size=BIG) as pilot:
        await press(pilot, "6", "enter", "tab")
        screen = pilot.app.screen
        assert isinstance(screen, RequestScreen)
        assert "rivers" in told(pilot)
        await press(pilot, "q")
        assert [(pane._body, pane.query_one("Static").render()) for pane in screen.query(BodyPane)] == [(None, "")] * 2
        fake.answers["requests.show"] = lambda params: {
            name: value for name, value in show(params).items() if not name.endswith(("request", "response"))
        }
        await press(pilot, "j", "enter", "tab", "tab")
        assert "rivers" not in told(pilot)
        assert "Answers" not in told(pilot)
        assert screen.query_one(TabLine).active == 0


async def test_what_was_pasted_is_gone_with_its_screen(open_app: Open, fake: FakeService) -> None:
    async with open_app(size=BIG) as pilot:
        await press(pilot, "5", "e")
        screen = pilot.app.screen
        assert isinstance(screen, ExplainScreen)
        screen.query_one(TextArea).text = '{"say": "mine"}'
        await press(pilot, "ctrl+s")
        assert "mine" in told(pilot)
        await press(pilot, "q", "e")
        assert pilot.app.screen is screen
        assert "mine" not in told(pilot)
        asked = [params["request"]["say"] for method, params in fake.asked if method == "explain"]
        assert asked == ["Name three rivers.", "mine", "Name three rivers."]


async def test_formats_are_known_from_before_and_news_of_them_are_taken(open_app: Open, fake: FakeService) -> None:
    async with open_app(size=BIG) as pilot:
        await press(pilot, "5", "e", "q")
        fake.formats = [{"id": "house.songs", "stream": True}]
        await press(pilot, "e")
        assert "house.songs ▾" in told(pilot)
        assert [params["format"] for method, params in fake.asked if method == "explain"][-1] == "house.songs"


@pytest.mark.parametrize("refused", [False, True])
async def test_an_act_is_told_of_though_its_screen_was_left(
    open_app: Open, fake: FakeService, gate: Gate, refused: bool
) -> None:
    fake.answers["keys.delete"] = lambda params: {"id": params["key"], "deleted": True}
    if refused:
        fake.refuse["keys.delete"] = AdminError("not that one")
    async with open_app(size=BIG) as pilot:
        await press(pilot, "3", "enter")
        gate.held = {"keys.delete"}
        await pilot.press("x", "y")
        await until(lambda: "keys.delete" in gate.reached)
        await pilot.press("q")
        await until(lambda: len(pilot.app.screen_stack) == 1)
        await pilot.press("j", "enter")
        await until(lambda: isinstance(pilot.app.screen, KeyScreen))
        gate.held = set()
        await settle(pilot)
        said = [str(each.message) for each in pilot.app._notifications]
        assert said == ["not that one" if refused else "Deleted key `ci`"]
        assert isinstance(pilot.app.screen, KeyScreen)
        assert pilot.app.screen.record()["name"] == "laptop"


async def test_a_secret_is_told_though_the_screen_that_asked_was_left(
    open_app: Open, fake: FakeService, gate: Gate
) -> None:
    fake.answers["keys.rotate"] = lambda params: {"id": params["key"], "key": "nex-sk-rotated"}
    async with open_app(size=BIG) as pilot:
        await press(pilot, "3", "enter", "t", "enter")
        gate.held = {"keys.rotate"}
        await pilot.press("y")
        await until(lambda: "keys.rotate" in gate.reached)
        await pilot.press("q")
        await until(lambda: len(pilot.app.screen_stack) == 1)
        gate.held = set()
        await settle(pilot)
        assert isinstance(pilot.app.screen, SecretScreen)
        assert "nex-sk-rotated" in told(pilot)


async def test_screens_made_ahead_are_about_nothing(open_app: Open, fake: FakeService) -> None:
    async with open_app(size=BIG, ahead=True) as pilot:
        app: Any = pilot.app
        kinds = [opened(names) for names in OPENED]
        known: Callable[[], bool] = lambda: "formats" in app.known  # noqa: E731
        await until(lambda: all(kind in app._kept and app._kept[kind].outer_size for kind in kinds) and known())
        assert not {"accounts.show", "keys.show", "requests.show", "explain"} & set(fake.methods())
        await press(pilot, "ctrl+t", "2", "enter")
        assert app.screen is app._kept[AccountScreen]
        assert "184.25" in told(pilot)
