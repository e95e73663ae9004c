"""What is typed, told apart: an Escape by itself, and one that begins an arrow key."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from textual import constants
from textual.drivers.linux_driver import LinuxDriver
from textual.drivers.web_driver import WebDriver

from tui.app import AdminApp
from tui.drivers import PromptDriver


class Line:
    """A line on which each piece comes once the one before was looked at; between the pieces nothing is ready."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.read, self._write = os.pipe()
        self._pieces = iter(pieces)
        self.waits: list[float] = []

    def select(self, wait: float) -> bool:
        self.waits.append(wait)
        piece = next(self._pieces, b"")
        if piece is None:
            time.sleep(wait)
            return False
        if piece:
            os.write(self._write, piece)
        else:
            os.close(self._write)  # the end
        return True


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[list[str], list[float]]]]:
    """The keys that are heard of pieces, and how long each was waited for. None is a wait in which nothing comes."""
    ends: list[int] = []

    def listen(*pieces: bytes | None) -> tuple[list[str], list[float]]:
        line = Line(*pieces)
        ends.append(line.read)

        class Selector:
            def __enter__(self) -> Selector:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def register(self, *_: object) -> None:
                pass

            select = staticmethod(line.select)

        monkeypatch.setattr("tui.drivers.selectors.SelectSelector", Selector)
        keys: list[str] = []
        driver: Any = object.__new__(PromptDriver)
        driver.fileno, driver._debug, driver.exit_event = line.read, False, Event()
        driver.process_message = lambda event: keys.append(event.key)
        driver.run_input_thread()
        return keys, line.waits

    yield listen
    for end in ends:
        os.close(end)


def test_an_escape_by_itself_is_waited_for_no_longer_than_asked(heard: Any) -> None:
    keys, waits = heard(b"\x1b", None)
    assert keys == ["escape"]
    assert constants.ESCAPE_DELAY <= waits[1] < constants.ESCAPE_DELAY + 0.01
    assert waits[2] == waits[0], "then it rests"


def test_an_arrow_key_is_one_even_where_the_line_tears_it(heard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ESCAPE_DELAY", 600.0)  # however long the pieces take
    assert heard(b"\x1b", b"[", b"B")[0] == ["down"]
    assert heard(b"\x1b[B")[0] == ["down"]
    assert heard("é".encode()[:1], "é".encode()[1:])[0] == ["é"]


def test_keys_right_after_each_other_are_all_heard(heard: Any) -> None:
    assert heard(b"jj\x1b[Ak", b"q")[0] == ["j", "j", "up", "k", "q"]


def test_the_terminal_and_the_browser_have_them(open_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for theirs in (LinuxDriver, WebDriver):
        monkeypatch.setattr("textual.app.App.get_driver_class", lambda app, driver=theirs: driver)
        app = AdminApp(connect=lambda: None)  # type: ignore[arg-type, return-value]
        assert app.driver_class is not theirs
        assert issubclass(app.driver_class, theirs)
