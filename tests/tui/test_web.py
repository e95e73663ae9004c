"""The terminal in a browser: nothing without the admin token, everything with it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from nexeon.errors import AdminError
from tests.tui.live import COMMAND, environment, gateway

pytest.importorskip("textual_serve", reason="no textual-serve: install the extra `web`")

import aiohttp
from aiohttp.test_utils import TestClient, TestServer

from tests.patience import PATIENCE, until
from tui.web.door import COOKIE, Door
from tui.web.server import WebTerminal

TOKEN = "open-sesame-4711"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@asynccontextmanager
async def browser(command: str = "false") -> AsyncIterator[TestClient[Any, Any]]:
    server = WebTerminal(command, TOKEN, host="127.0.0.1", port=0)
    async with TestClient(TestServer(await server._make_app()), cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        yield client


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.web.door._WRONG_WAIT", 0.01)


@pytest.mark.parametrize("path", ["/ws", "/static/js/textual.js", "/static/", "/download/x", "/nothing", "/logins"])
async def test_nothing_is_shown_without_a_session(path: str) -> None:
    async with browser() as client:
        answer = await client.get(path)
        assert (answer.status, await answer.text()) == (401, "log in first")
        forged = await client.get(path, cookies={COOKIE: "x" * 43})
        assert forged.status == 401


async def test_the_page_leads_to_the_form() -> None:
    async with browser() as client:
        answer = await client.get("/", allow_redirects=False)
        assert (answer.status, answer.headers["location"]) == (302, "/login")
        page = await (await client.get("/login")).text()
        assert 'name="token" type="password"' in page
        assert TOKEN not in page


@pytest.mark.parametrize("wrong", ["", "open-sesame-4712", TOKEN + "x", "é", "<script>"])
async def test_a_wrong_token_opens_nothing(wrong: str) -> None:
    async with browser() as client:
        for answer in (
            await client.post("/login", data={"token": wrong}),
            await client.get("/", params={"token": wrong or "x"}, allow_redirects=False),
        ):
            assert answer.status == 401
            assert "set-cookie" not in answer.headers
            assert "<script>" not in (await answer.text()).partition("</style>")[2]
        assert (await client.get("/ws")).status == 401


@pytest.mark.parametrize("way", ["form", "address"])
async def test_the_token_opens_it_once_and_for_all(way: str) -> None:
    async with browser() as client:
        if way == "form":
            answer = await client.post("/login", data={"token": TOKEN}, allow_redirects=False)
        else:
            answer = await client.get("/", params={"token": TOKEN}, allow_redirects=False)
        assert (answer.status, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        page = await client.get("/")
        text = await page.text()
        assert f'data-session-websocket-url="ws://127.0.0.1:{client.port}/ws"' in text
        assert "https://" not in text, "nothing is fetched from elsewhere"
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["cache-control"] == "no-store"
        assert (await client.get("/static/js/textual.js")).status == 200
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/ws", headers={"origin": "https://evil.example"})
        assert refused.value.status == 403
        await client.get("/logout")
        assert (await client.get("/ws")).status == 401


async def test_behind_tls_the_cookie_is_for_tls_only() -> None:
    async with browser() as client:
        answer = await client.post(
            "/login", data={"token": TOKEN}, headers={"x-forwarded-proto": "https"}, allow_redirects=False
        )
        assert "Secure" in answer.headers["set-cookie"]


async def test_a_session_ends_after_some_hours() -> None:
    now = 0.0
    door = Door(TOKEN, clock=lambda: now)
    server = WebTerminal("false", TOKEN, host="127.0.0.1", port=0)
    server._door = door
    async with TestClient(TestServer(await server._make_app()), cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        await client.post("/login", data={"token": TOKEN}, allow_redirects=False)
        assert (await client.get("/")).url.path == "/"
        now = 13 * 3600.0
        assert (await client.get("/")).url.path == "/login"


def test_it_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from nexeon.cli.tui import command

    empty = tmp_path / "empty.yaml"
    empty.write_text("{}")
    monkeypatch.delenv("NEXEON_ADMIN_TOKEN", raising=False)
    refused = CliRunner().invoke(command, ["--web", "-c", str(empty)])
    assert isinstance(refused.exception, AdminError)
    assert "NEXEON_ADMIN_TOKEN" in str(refused.exception)
    assert "admin.http.token" in str(refused.exception)
    monkeypatch.setitem(sys.modules, "tui.web.server", None)
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    monkeypatch.delitem(sys.modules, "tui.web.server")
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    refused = CliRunner().invoke(command, ["--web", "-c", str(empty)])
    assert isinstance(refused.exception, AdminError)
    assert "nexeon[web]" in str(refused.exception)


@contextmanager
def served(files: list[str]) -> Iterator[str]:
    """The address of `nexeon tui --web`."""
    command = [*COMMAND, "tui", "--web", "--port", "0", *files]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(NEXEON_ADMIN_TOKEN=TOKEN)
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+:\d+", line)
        assert found, line + process.stdout.read()
        try:
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
        assert process.returncode == 0


class Page:
    """A page of a headless browser, over the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.heard = b""
        """What the page's websockets were sent."""

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        while True:
            message = await self._next(PATIENCE)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])

    async def _next(self, seconds: float) -> dict[str, Any]:
        message: dict[str, Any] = await self._socket.receive_json(timeout=seconds)
        if message.get("method") == "Network.webSocketFrameReceived":
            frame = message["params"]["response"]
            payload = frame["payloadData"]
            self.heard += payload.encode() if frame["opcode"] == 1 else base64.b64decode(payload)
        return message

    async def wait(self, words: bytes, seconds: float = PATIENCE) -> None:
        async with asyncio.timeout(seconds):
            while words not in re.sub(rb"\x1b\[[\d;?]*\w", b"", self.heard):
                await self._next(seconds)

    async def open(self, url: str) -> str:
        """The text of the page there."""
        await self.do("Page.navigate", url=url)
        async with asyncio.timeout(PATIENCE):
            while True:
                ready = await self.do(
                    "Runtime.evaluate", expression="document.readyState + '\\n' + document.body.innerText"
                )
                text = str(ready["result"].get("value", ""))
                if text.startswith("complete"):
                    return text
                await asyncio.sleep(0.1)

    async def press(self, text: str) -> None:
        await self.do("Input.dispatchKeyEvent", type="keyDown", text=text, key="Enter" if text == "\r" else text)

    async def file(self, folder: Path, name: str) -> str:
        """What was downloaded, once it is whole."""
        async with asyncio.timeout(PATIENCE):
            while not (folder / name).exists():
                await self.do("Runtime.evaluate", expression="1")  # and hear meanwhile
                await asyncio.sleep(0.1)
        return (folder / name).read_text()

    async def picture(self) -> bytes:
        return base64.b64decode((await self.do("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    assert CHROMIUM is not None
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *quiet, "--remote-debugging-port=0"]
    process = await asyncio.create_subprocess_exec(
        *command,
        f"--user-data-dir={folder}",
        "--window-size=1000,700",
        "about:blank",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port_file = folder / "DevToolsActivePort"
        await until(lambda: port_file.exists() and port_file.read_text().strip())
        port = port_file.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                pages = json.loads(await answer.text())
            target = next(each for each in pages if each["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Network", "Runtime"):
                    await page.do(f"{domain}.enable")
                yield page
    finally:
        process.kill()
        await process.wait()


def colours(png: bytes) -> set[bytes]:
    """The colours of a picture: RGB, or RGBA as it is written."""
    place, data, width, height, size = 8, b"", 0, 0, 0
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        body = png[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", body[:10])
            size = {2: 3, 6: 4}[colour]
        elif kind == b"IDAT":
            data += body
        place += 12 + length
    raw, line = zlib.decompress(data), width * size
    before, found = bytearray(line), set()
    for row in range(height):
        begin = row * (line + 1)
        now, way = bytearray(raw[begin + 1 : begin + 1 + line]), raw[begin]
        for at in range(line):
            left = now[at - size] if at >= size else 0
            above, corner = before[at], before[at - size] if at >= size else 0
            guess = left + above - corner
            near = min((left, above, corner), key=lambda each: abs(guess - each))
            now[at] = (now[at] + (0, left, above, (left + above) // 2, near)[way]) & 255
        found |= {bytes(now[at : at + size]) for at in range(0, line, size)}
        before = now
    return found


@pytest.mark.skipif(CHROMIUM is None, reason="no browser: install Debian's chromium")
async def test_a_browser_shows_the_terminal_to_who_has_the_token(tmp_path: Path) -> None:
    with gateway(tmp_path) as running, served(running.files) as url:
        async with chromium(tmp_path / "profile") as page:
            text = await page.open(url)
            assert "Admin token" in text
            assert "Overview" not in text
            assert page.heard == b""
            await page.open(f"{url}/?token={TOKEN}")
            await page.wait(b"8 Audit")
            await page.wait(b"gateway")
            await page.do("Runtime.evaluate", expression="document.querySelector('.xterm-helper-textarea').focus()")
            await page.press("3")
            await page.wait(b"sandbox")
            where = await page.do("Runtime.evaluate", expression="location.href")
            assert TOKEN not in where["result"]["value"]
            # letters have many shades; the ground of the theme, and the colour that marks the screen in front
            marks = {bytes.fromhex("0e131a"), bytes.fromhex("2dd4bf")}
            async with asyncio.timeout(PATIENCE):
                while len(seen := colours(await page.picture())) <= 50 or not marks <= {each[:3] for each in seen}:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            # the ledger becomes a download
            folder = tmp_path / "downloads"
            await page.do("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
            page.heard = b""
            await page.press("2")
            await page.wait(b"Available")
            await page.press("\r")
            await page.wait(b"Spent today")
            await page.press("s")
            saved = await page.file(folder, "sandbox-ledger.csv")
    assert [line.split(",")[2] for line in saved.splitlines()] == ["kind", "grant"]
