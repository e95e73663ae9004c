"""First steps: from nothing to an answer, left and taken up again."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fakes import FakeService, account
from gateways import gateway
from pilots import Open, call, fill, press, settle, terminal
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from nexeon.errors import AdminError
from tests.patience import PATIENCE
from tui.screens.first import FirstScreen
from tui.screens.secret import SecretScreen


def first(pilot: Pilot[None]) -> FirstScreen:
    screen = pilot.app.screen
    assert isinstance(screen, FirstScreen)
    return screen


def steps(pilot: Pilot[None]) -> str:
    """A sign for each step: ✓ where it is done."""
    options = first(pilot).query_one("#steps", OptionList).options
    return "".join(str(each.prompt)[0] for each in options)


async def test_from_nothing_to_a_key(open_real: Open) -> None:
    async with open_real(welcome=True) as pilot:
        assert steps(pilot) == "○○○○"
        await press(pilot, "j", "enter")
        assert first(pilot), "a key needs an account"
        await press(pilot, "k", "enter")
        fill(pilot, name="acme", usd="3")
        await press(pilot, "ctrl+s")
        assert steps(pilot) == "✓○○○"
        assert (await pilot.app.link.call("accounts.show", account="acme"))["balance"] == "3.00"  # type: ignore[attr-defined]
        await press(pilot, "enter", "ctrl+s")
        shown = pilot.app.screen
        assert isinstance(shown, SecretScreen)
        secret = str(shown.query_one("#secret", Static).render())
        assert secret.startswith("nex-sk-")
        await press(pilot, "escape")
        assert steps(pilot) == "✓✓○○"
        assert first(pilot).query_one("#steps", OptionList).highlighted == 2
        await press(pilot, "s", "enter")
        assert "nexeon serve" in str(first(pilot).query_one("#said", Static).render())
        assert secret not in pilot.app.export_screenshot()


async def test_it_is_left_at_any_step_and_taken_up_from_the_palette(open_real: Open) -> None:
    async with open_real(welcome=True) as pilot:
        await press(pilot, "enter", "escape", "q")
        assert not isinstance(pilot.app.screen, FirstScreen)
        await press(pilot, "8", "r")
        assert not isinstance(pilot.app.screen, FirstScreen), "shown once"
        await pilot.press("ctrl+p")
        await pilot.pause()
        await press(pilot, *"first steps", "enter")
        assert steps(pilot) == "○○○○"


async def test_where_there_is_an_account_it_does_not_show_by_itself(open_app: Open) -> None:
    async with open_app(welcome=True) as pilot:
        assert not isinstance(pilot.app.screen, FirstScreen)


async def test_what_is_done_stays_done_while_no_gateway_answers(open_app: Open, fake: FakeService) -> None:
    fake.answers["accounts.create"] = lambda params: fake.accounts[0]
    fake.refuse["credits.add"] = AdminError("no credit today")
    async with open_app() as pilot:
        await press(pilot, ":first")
        done = steps(pilot)
        assert done == "✓✓✓✓"
        fake.gone = True
        await press(pilot, "r")
        assert steps(pilot) == done
        fake.gone = False
        fake.accounts.clear()
        await press(pilot, "r")
        assert steps(pilot)[0] == "○"
        await press(pilot, "g", "enter")
        fill(pilot, name="acme")
        fake.accounts.append(account(0, "acme", "0.00"))
        await press(pilot, "ctrl+s")
        assert steps(pilot)[0] == "✓", "it was made, though nothing was granted"
        assert "no credit today" in [str(each.message) for each in pilot.app._notifications]


@asynccontextmanager
async def answering(status: int, body: bytes, seen: list[bytes], wait: float = 0) -> AsyncIterator[str]:
    """The URL of a server that answers so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"content-length" in line.lower())
        seen.extend((head, await reader.readexactly(length)))
        await asyncio.sleep(wait)
        facts = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nx-nexeon-provider: alpine\r\n\r\n"
        writer.write(facts.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/chat"


def prepared(fake: FakeService, url: str) -> None:
    fake.answers["playground.compose"] = lambda params: {
        "url": url,
        "headers": {"content-type": "application/json"},
        "body": {"model": params["model"], "say": params["prompt"]},
    }
    fake.answers["playground.read"] = lambda params: (
        {"blocks": [{"type": "text", "text": params["answer"]}]}
        if params["status"] < 400
        else {"blocks": [], "error": {"message": params["answer"]}}
    )
    fake.answers["keys.create"] = lambda params: {"id": fake.keys[0]["id"], "key": "nex-sk-of-the-test"}


async def test_the_key_comes_with_a_line_that_works(open_app: Open, fake: FakeService) -> None:
    prepared(fake, "http://127.0.0.1:8080/chat")
    async with open_app() as pilot:
        pilot.app.action_first()  # type: ignore[attr-defined]
        await settle(pilot)
        assert steps(pilot) == "✓✓✓✓"
        await press(pilot, "g", "home", "j", "enter", "ctrl+s")
        shown = pilot.app.screen
        assert isinstance(shown, SecretScreen)
        words = shlex.split(str(shown.query_one("#example", Static).render()))
        assert words[:3] == ["curl", "-sS", "http://127.0.0.1:8080/chat"]
        assert "Authorization: Bearer nex-sk-of-the-test" in words
        assert json.loads(words[-1])["say"]
        await pilot.press("e")
        assert shlex.split(pilot.app.clipboard) == words


async def calling(pilot: Pilot[None], *, key: bool = True) -> str:
    await press(pilot, "end", "enter")
    if key:
        fill(pilot, key="nex-sk-pasted")
    await press(pilot, "ctrl+s")
    async with asyncio.timeout(PATIENCE):
        await settle(pilot)
        while first(pilot)._calling:  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.02)
    await settle(pilot)
    return str(first(pilot).query_one("#said", Static).render())


async def test_a_test_call_says_what_came(open_app: Open, fake: FakeService) -> None:
    seen: list[bytes] = []
    async with answering(200, b"good day", seen) as url, open_app() as pilot:
        prepared(fake, url)
        pilot.app.action_first()  # type: ignore[attr-defined]
        await settle(pilot)
        said = await calling(pilot)
        assert said.startswith("✓ 200 · provider alpine")
        assert "good day" in said
    assert b"authorization: bearer nex-sk-pasted" in seen[0].lower()
    assert json.loads(seen[1])["model"] == fake.answers["models.list"]({})["items"][0]["id"]


async def test_a_test_call_that_fails_says_why(open_app: Open, fake: FakeService) -> None:
    seen: list[bytes] = []
    async with answering(402, b"no credit", seen) as url, open_app() as pilot:
        prepared(fake, url)
        pilot.app.action_first()  # type: ignore[attr-defined]
        await settle(pilot)
        assert (await calling(pilot)).startswith("✖ 402")
        prepared(fake, "http://127.0.0.1:1/chat")
        said = await calling(pilot, key=False)
        assert said.startswith("✖ ConnectError")


async def test_a_key_that_is_refused_is_asked_for_again(open_app: Open, fake: FakeService) -> None:
    seen: list[bytes] = []
    async with answering(401, b"no such key", seen) as url, open_app() as pilot:
        prepared(fake, url)
        await press(pilot, ":first")
        said = await calling(pilot)
        assert said.startswith("✖ 401")
        assert "asks for another key" in said
        await press(pilot, "end", "enter")
        fill(pilot, key="nex-sk-the-right-one")
        await press(pilot, "escape")


async def test_a_provider_key_whose_test_fails_is_not_taken_for_one_that_works(
    open_app: Open, fake: FakeService
) -> None:
    fake.answers["provider_keys.add"] = lambda params: fake.provider_keys[0]
    async with open_app() as pilot:
        await press(pilot, ":first")
        for ok, shown in ((False, "✓✓▲✓"), (True, "✓✓✓✓")):
            fake.answers["provider_keys.test"] = lambda params, ok=ok: {"ok": ok, "message": "alpine was asked"}
            await press(pilot, "home", "j", "j", "enter")
            fill(pilot, provider="alpine", secret="sk-of-the-test")
            await press(pilot, "ctrl+s")
            assert steps(pilot) == shown
            words = str(first(pilot).query_one("#steps", OptionList).options[2].prompt)
            assert ("The test failed: alpine was asked." in words) is not ok
        fake.refuse["provider_keys.test"] = AdminError("no model to ask for")
        await press(pilot, "home", "j", "j", "enter")
        fill(pilot, provider="alpine", secret="sk-of-the-test")
        await press(pilot, "ctrl+s")
        assert steps(pilot) == "✓✓▲✓"


async def test_a_far_gateway_is_called_where_it_is_administered(open_app: Open, fake: FakeService) -> None:
    fake.place = "https://gateway.example"
    prepared(fake, "http://127.0.0.1:8080/v9/chat?alt=x")
    async with open_app() as pilot:
        pilot.app.action_first()  # type: ignore[attr-defined]
        await settle(pilot)
        reachable: dict[str, Any] = first(pilot)._reachable({"url": "http://127.0.0.1:8080/v9/chat?alt=x"})
        assert reachable["url"] == "https://gateway.example/v9/chat?alt=x"


async def test_all_four_steps_beside_a_gateway() -> None:
    """A real one, whose providers answer offline: the key that is made pays for the call that is made."""
    async with gateway() as served, terminal(served.connect, size=(100, 40)) as pilot:
        await press(pilot, ":first", "home", "enter")
        fill(pilot, name="acme", usd="3")
        await press(pilot, "ctrl+s", "home", "down", "enter")
        fill(pilot, account="acme", name="ci")
        await press(pilot, "ctrl+s")
        shown = pilot.app.screen
        assert isinstance(shown, SecretScreen)
        secret = str(shown.query_one("#secret", Static).render())
        command = shlex.split(str(shown.query_one("#example", Static).render()))
        assert f"Authorization: Bearer {secret}" in command
        await press(pilot, "escape", "home", "down", "down", "enter")
        provider = (await call(pilot, "models.list", limit=1))["items"][0]["targets"][0]["provider"]
        fill(pilot, provider=provider, secret="sk-of-the-operator-4711", label="main")
        await press(pilot, "ctrl+s")
        assert steps(pilot).startswith("✓✓✓")
        said = await calling(pilot, key=False)
        assert said.startswith("✓ 200 · provider "), said
        assert (await call(pilot, "keys.list", search="ci"))["items"][0]["spent"] != "0.00"
        entries = (await call(pilot, "credits.ledger", account="acme"))["items"]
        assert [entry["kind"] for entry in entries] == ["charge", "grant"]
        assert "sk-of-the-operator" not in pilot.app.export_screenshot()
        await press(pilot, "q")
        assert (await call(pilot, "provider_keys.list"))["items"][0]["label"] == "main"
