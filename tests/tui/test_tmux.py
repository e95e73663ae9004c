"""The real program in a terminal: `nexeon tui` in tmux, beside a gateway under load."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexeon.store.secrets import new_secret
from tests.patience import PATIENCE
from tests.tui.live import COMMAND, Gateway, Load, environment, gateway, wait_for

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux: install Debian's tmux")


class Terminal:
    """A terminal of its own, which keys are typed into."""

    def __init__(self, folder: Path, command: list[str], *, size: tuple[int, int], **variables: str) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._environment = environment(**variables)
        width, height = size
        line = shlex.join(command) + "; echo left with $?; sleep 600"
        self._run("new-session", "-d", "-x", str(width), "-y", str(height), "-s", "t", line)

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], env=self._environment, check=True, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        self._run("send-keys", "-t", "t", *keys)

    def type(self, text: str) -> None:
        self._run("send-keys", "-t", "t", "-l", text)

    def screen(self, *, colours: bool = False) -> str:
        return self._run("capture-pane", "-t", "t", "-p", *(["-e"] if colours else []))

    def see(self, words: str, seconds: float = PATIENCE) -> str:
        """The screen, once those words (a pattern) are on it."""
        last = ""

        def look() -> bool:
            nonlocal last
            last = self.screen()
            return re.search(words, last) is not None

        try:
            wait_for(look, seconds, words)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen was:\n{last}") from None
        return last

    def end(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], env=self._environment, check=False, capture_output=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
def terminal(running: Gateway, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path, [*COMMAND, "tui", *running.files], size=(120, 40))
    yield opened
    opened.end()


def test_every_screen_while_requests_come_in(running: Gateway, terminal: Terminal) -> None:
    with Load(running.url, running.key) as load:
        terminal.see("1 Overview")
        terminal.see(r"● gateway")
        for key, words in {
            "2": r"Available[^\n]*\n.*sandbox",
            "3": r"Used ago[^\n]*\n.*sandbox",
            "4": "Provider[^\n]*State",
            "5": "Model +Health",
            "6": r"200",
            "7": "Ask",
            "8": "When[^\n]*Who[^\n]*What|Nothing has been changed",
            "1": r"req.*s|Requests",
        }.items():
            terminal.press(key)
            terminal.see(words)
        terminal.press("?")
        terminal.see("Everywhere")
        terminal.press("q")
        # requests come in while one looks
        terminal.press("6")
        first = terminal.see("200")
        wait_for(lambda: terminal.screen() != first, PATIENCE, "another request")
    assert load.statuses
    assert set(load.statuses) == {200}
    terminal.press("C-q")
    terminal.see("left with 0")


def test_an_account_a_grant_and_a_key_are_made_and_the_key_works(running: Gateway, terminal: Terminal) -> None:
    terminal.see(r"● gateway")
    terminal.press("2")
    terminal.see("Available")
    terminal.press("n")
    terminal.see("New account")
    terminal.type("tmuxed")
    terminal.press("Tab")
    terminal.type("12.5")
    terminal.press("C-s")
    terminal.see(r"tmuxed +12\.50")
    terminal.press("/")
    terminal.type("tmux")
    terminal.press("Enter")
    wait_for(lambda: "sandbox " not in terminal.screen(), PATIENCE, "a narrowed list")
    terminal.press("+")
    terminal.see("Grant credit")
    terminal.type("0.000000001")
    terminal.press("C-s")
    terminal.see("to account `tmuxed`")
    terminal.press("y")
    assert "12.500000001" in wait_for(
        lambda: (found := running.run("accounts", "list", "--json")) and "12.500000001" in found and found,
        PATIENCE,
        "the grant",
    )
    terminal.press("3")
    terminal.see("Used ago")
    terminal.press("n")
    terminal.see("New key")
    terminal.see("Requests a minute +no limit")  # the last of its fields are there
    terminal.type("from-tmux")
    terminal.press("Tab")
    terminal.type("tmuxed")
    terminal.press("C-s")
    whole = rf"nex-sk-[\w-]{{{len(new_secret()) - len('nex-sk-')}}}"
    secret = re.search(whole, terminal.see(whole))
    assert secret is not None
    terminal.press("Escape")
    terminal.see(r"from-tmux +tmuxed")
    wait_for(lambda: secret[0] not in terminal.screen(), PATIENCE, "the list without the secret")
    with Load(running.url, secret[0], threads=1) as load:
        wait_for(lambda: len(load.statuses) > 3, PATIENCE, "four answers")
    assert set(load.statuses) == {200}
    terminal.press("r")
    terminal.see(r"from-tmux +tmuxed.* (ms|s|min)")
    terminal.press("8")
    shown = terminal.see("keys.create")
    assert "credits.add" in shown


def test_without_colour_states_are_told_in_words(running: Gateway, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, [*COMMAND, "tui", *running.files], size=(80, 24), NO_COLOR="1")
    try:
        terminal.see(r"● gateway")
        terminal.press("4")
        terminal.see(r"● active")
        coloured = re.findall(r"\x1b\[[\d;]*[34]8;2;(\d+);(\d+);(\d+)", terminal.screen(colours=True))
        assert all(len(set(colour)) == 1 for colour in coloured), "grey at most"
        for line in terminal.screen().splitlines():
            assert len(line) <= 80
    finally:
        terminal.end()


def test_the_gateway_dies_and_comes_back(tmp_path: Path) -> None:
    with gateway(tmp_path) as first:
        terminal = Terminal(tmp_path, [*COMMAND, "tui", *first.files], size=(100, 30))
        try:
            terminal.see(r"● gateway")
            terminal.press("2")
            terminal.see("sandbox")
            first.stop()
            terminal.press("r")
            terminal.see("lost, trying again")
            first.start()
            terminal.see(r"● gateway")
            terminal.see("answers again|sandbox")
        finally:
            terminal.end()


def test_it_opens_at_once_and_ends_at_once(running: Gateway, tmp_path: Path) -> None:
    begun = time.monotonic()
    terminal = Terminal(tmp_path, [*COMMAND, "tui", *running.files], size=(120, 40))
    try:
        terminal.see("Overview")
        opened = time.monotonic() - begun
        print(f"opened after {opened:.2f} s, with {os.getloadavg()[0]:.1f} waiting")
        terminal.press("q")
        terminal.see("left with 0")
    finally:
        terminal.end()
