"""The terminal's line, and the browser's: an Escape is heard as soon as it is told from an arrow key."""

from __future__ import annotations

import codecs
import os
import selectors
from typing import Any, Final

from textual import constants
from textual._xterm_parser import XTermParser
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.drivers.web_driver import WebDriver

_IDLE: Final = 0.1
"""Seconds between two looks at whether the program ends."""

_SPARE: Final = 0.001
"""Seconds by which a wait may end early."""


class PromptDriver(LinuxDriver):
    """Textual's own looks only every 100 ms at whether an Escape stays by itself, however short `ESCDELAY` is."""

    def run_input_thread(self) -> None:
        parser = XTermParser(self._debug)
        decoder = codecs.getincrementaldecoder("utf-8")()
        wait = _IDLE
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                heard = b""
                if selector.select(wait) and not (heard := os.read(self.fileno, 4096)):
                    return
                typed = decoder.decode(heard)
                for event in (*(parser.feed(typed) if typed else ()), *parser.tick()):
                    self.process_message(event)
                wait = constants.ESCAPE_DELAY + _SPARE if heard else _IDLE


class PromptWebDriver(WebDriver):
    """The same for what comes from a browser."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._input_reader.timeout = min(self._input_reader.timeout, constants.ESCAPE_DELAY)


PROMPT: Final[dict[type[Driver], type[Driver]]] = {LinuxDriver: PromptDriver, WebDriver: PromptWebDriver}
"""What stands in for which of Textual's drivers."""
