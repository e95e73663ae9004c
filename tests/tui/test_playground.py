"""Playground: over a real gateway, in each of its formats; and how it behaves where something is wrong."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeService
from gateways import gateway
from pilots import Open, settle, terminal
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, Input, Log, Select, Static

from tests.patience import PATIENCE
from tui.asking import Began, Ended, Heard, ask
from tui.screens.form import FormScreen
from tui.screens.playground import PlaygroundScreen, Told, reached


async def playground(pilot: Pilot[None]) -> PlaygroundScreen:
    await pilot.press("7")
    await settle(pilot)
    assert isinstance(pilot.app.screen, PlaygroundScreen)
    return pilot.app.screen


def said(screen: PlaygroundScreen, name: str = "#said") -> str:
    return str(screen.query_one(name, Static).render())


async def until(pilot: Pilot[None], happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        await settle(pilot)
        while not happened():
            await asyncio.sleep(0.02)
            await settle(pilot)


async def test_a_prompt_in_every_format_over_a_real_gateway() -> None:
    async with gateway() as served, terminal(served.connect, size=(140, 40)) as pilot:
        link: Any = pilot.app.link  # type: ignore[attr-defined]
        await link.call("accounts.create", name="acme")
        await link.call("credits.add", account="acme", usd="5")
        screen = await playground(pilot)
        formats = [each["id"] for each in (await link.call("playground.list"))["items"]]
        assert len(formats) >= 4
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, FormScreen))
        form = pilot.app.screen
        assert isinstance(form, FormScreen)
        form.line("account").answer = "acme"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "USD" in said(screen, "#state") or "stop" in said(screen, "#state"))
        minted = (await link.call("keys.list", search="playground"))["items"]
        assert len(minted) == 1
        assert minted[0]["expires"] is not None
        changes = (await link.call("audit.list"))["items"]
        assert "keys.create" in {change["method"] for change in changes}
        for name in formats:
            for stream in (True, False):
                screen.query_one("#format", Select).value = name
                if screen._stream is not stream:
                    await pilot.press("s")
                await pilot.press("ctrl+s")
                await until(pilot, lambda: not screen._receiving and "stop" in said(screen, "#state"))
                assert said(screen).strip(), (name, stream)
                assert "took" in said(screen, "#state")
                raw = screen.query_one("#raw", Log)
                assert ("data:" in "\n".join(raw.lines)) is stream, (name, stream)
        assert len((await link.call("requests.list"))["items"]) == 1 + 2 * len(formats)
        await pilot.press("v")
        assert screen.query_one("#views", ContentSwitcher).current == "raw"


async def test_a_wrong_key_is_told_in_the_answer() -> None:
    async with gateway() as served, terminal(served.connect) as pilot:
        screen = await playground(pilot)
        screen._key = "nex-sk-nobody"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "401" in said(screen, "#state"))
        assert "✖" in said(screen)
        screen._key = "ключ"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "cannot be sent" in said(screen, "#state"))


async def test_what_was_cancelled_says_no_more(open_app: Open, fake: FakeService) -> None:
    fake.answers["playground.read"] = lambda params: {"blocks": [{"type": "text", "text": params["answer"]}]}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        await _cancelled(open_app, fake, f"http://127.0.0.1:{silent.getsockname()[1]}/")


async def _cancelled(open_app: Open, fake: FakeService, url: str) -> None:
    request = {"url": url, "headers": {}, "body": {}}
    fake.answers["playground.compose"] = lambda params: request
    async with open_app(size=(140, 40)) as pilot:
        screen = await playground(pilot)
        screen._send(request)
        screen._asked = {"format": "house.chat", "model": "m", "stream": True}
        number = screen._number
        screen.post_message(Told(number, Began(200, {"x-nexeon-provider": "alpine"}, 0.1)))
        screen.post_message(Told(number, Heard("The Rhine [and", 0.2)))
        await until(pilot, lambda: said(screen) == "The Rhine [and")
        assert "alpine" in said(screen, "#state")
        screen._receiving = True
        await pilot.press("x")
        screen.post_message(Told(number, Heard(" the Elbe", 0.3)))
        await settle(pilot)
        assert said(screen) == "The Rhine [and"
        assert "cancelled" in said(screen, "#state")


@pytest.mark.parametrize("ending", ["cancelled", "lost", "failed"])
async def test_an_answer_that_ended_badly_says_so_although_what_came_of_it_is_read_later(
    open_app: Open, fake: FakeService, ending: str
) -> None:
    async with open_app() as pilot:
        screen = await playground(pilot)
        screen._asked = {"format": "chat", "model": "swift-2", "stream": True}
        screen._receiving = True
        screen.on_told(Told(screen._number, Began(200, {}, 0.1)))
        screen.on_told(Told(screen._number, Heard("half", 0.2)))
        answer: dict[str, Any] = {"blocks": [{"type": "text", "text": "half"}]}
        if ending == "cancelled":
            screen.action_cancel()
        else:
            screen.on_told(Told(screen._number, Ended("ReadError" if ending == "lost" else "", 0.3)))
        if ending == "failed":
            answer["error"] = {"message": "the provider broke"}
        screen.answered("read", answer)
        await pilot.pause()
        state = said(screen, "#state")
        assert state.startswith("✖")
        assert "200" in state
        assert "half" in said(screen)
        words = {"cancelled": "is charged", "lost": "ReadError", "failed": "the provider broke"}[ending]
        assert words in (said(screen) if ending == "failed" else state)


async def test_a_model_is_tried_from_its_list(open_app: Open) -> None:
    async with open_app() as pilot:
        await pilot.press("5")
        await settle(pilot)
        await pilot.press("j", "t")
        await settle(pilot)
        assert pilot.app.current_mode == "playground"
        assert pilot.app.screen.query_one("#model", Input).value == "swift-2-mini"


async def test_without_a_key_one_is_asked_for(open_app: Open, fake: FakeService) -> None:
    async with open_app(size=(140, 40)) as pilot:
        await playground(pilot)
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert isinstance(pilot.app.screen, FormScreen)
        assert "playground.compose" not in fake.methods()
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(pilot.app.screen, PlaygroundScreen)


@pytest.mark.parametrize(
    ("place", "asked"),
    [
        ("/run/admin.sock", "http://127.0.0.1:8080/v1/x?alt=sse"),
        ("https://gateway.example", "https://gateway.example/v1/x?alt=sse"),
        ("https://example.org/gate/", "https://example.org/gate/v1/x?alt=sse"),
    ],
)
def test_a_gateway_far_away_is_asked_where_it_was_reached(place: str, asked: str) -> None:
    assert reached("http://127.0.0.1:8080/v1/x?alt=sse", place) == asked


@pytest.mark.parametrize(("url", "words"), [("http://127.0.0.1:9/", "Connect"), ("nowhere", "protocol")])
async def test_asking_tells_why_it_ended_and_never_raises(url: str, words: str) -> None:
    told: list[Any] = []
    await ask({"url": url, "headers": {}, "body": {}}, "nex-sk-x", told.append)
    assert isinstance(told[-1], Ended)
    assert words in told[-1].error
