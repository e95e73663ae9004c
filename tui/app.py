"""The app: a mode for each screen, the keys that work everywhere, the themes, and the state of the connection."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.events import Event, InputEvent
from textual.filter import LineFilter, Monochrome
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import AwaitMount

from nexeon.errors import NexeonError
from tui.commands import commands
from tui.filters import NoColour, NoControl
from tui.garbage import Sweeper
from tui.link import Connect, Link
from tui.palette import Palette, colourless
from tui.places import OPENED, PLACES, opened
from tui.screens.base import PAUSE, AdminScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.form import FormScreen
from tui.screens.help import HelpScreen
from tui.screens.palette import PaletteScreen
from tui.screens.pick import PickScreen
from tui.screens.quick import QuickScreen
from tui.sheets import Sheets
from tui.themes import DARK, LIGHT

K = TypeVar("K", bound=QuickScreen[Any])
_NO_CONTROL, _NO_COLOUR = NoControl(), NoColour()
_FEW: Final = "standard"
"""Rich's word for 16 colours."""
_PALETTES: Final = {_FEW: Palette(few=True), "256": Palette(few=False)}
DIALOGS: Final = (HelpScreen, FormScreen, ConfirmScreen, PaletteScreen, PickScreen)
"""Those that are made ahead, as are the screens of `tui.places.OPENED`."""

_RETRY = 2.0
"""Seconds between two attempts to find a gateway again."""

_CALM = 0.2
"""Seconds without a key after which something may be made ahead."""


class LinkChanged(Message):
    """The connection was made, or lost."""


class Looked(Message):
    """Whether there is an account."""

    def __init__(self, found: bool) -> None:
        super().__init__()
        self.found = found


class AdminApp(App[None]):
    """`connect` makes the client once the app runs; `clock` tells the time (Unix seconds)."""

    TITLE = "NeXeon"
    CSS_PATH = "nexeon.tcss"
    ENABLE_COMMAND_PALETTE = True
    MODES: ClassVar[Mapping[str, str | Callable[[], Screen[Any]]]] = {  # type: ignore[assignment]
        place.mode: place.make for place in PLACES
    }
    DEFAULT_MODE = PLACES[0].mode
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (36, "-tall")]
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(place.key, f"go('{place.mode}')", place.title, show=False) for place in PLACES),
        Binding("slash", "find", "Find", key_display="/"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "back", "Back"),
        Binding("escape", "back_only", "Back", show=False),
        Binding("ctrl+t", "theme", "Theme", show=False),
    ]
    whereabouts: reactive[tuple[str, str, str]] = reactive(("connecting", "", ""))
    """State of the connection, `gateway` or `store`, and its socket, URL or store."""

    def __init__(
        self,
        connect: Connect,
        *,
        clock: Callable[[], float] = time.time,
        theme: str = DARK.name,
        welcome: bool = True,
        ahead: bool = False,
        settled: Callable[[], object] = lambda: None,
        heard: Callable[[], object] = lambda: None,
    ) -> None:
        """`welcome`: where there is no account yet, the first steps are shown. `ahead`: once the first screen shows
        what was asked for it, the others are made, too, so that their keys open what is there. `settled` is called
        whenever one of the screens that stay shows for the first time what was asked for it; `heard` with every key,
        and whatever else somebody does."""
        super().__init__()
        self.stylesheet = self._sheets = Sheets(variables=self.get_css_variables())
        self._welcome = welcome
        self._ahead_too = ahead
        self._ahead = list(PLACES) if ahead else []
        self._when_settled = settled
        self._when_heard = heard
        self._heard_at = 0.0
        self._preparing: Iterator[None] | None = None
        self.clock = clock
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = theme
        self.link = Link(connect, self._link_changed)
        self._visited: list[str] = []
        self._kept: dict[type[QuickScreen[Any]], QuickScreen[Any]] = {}
        self.known: dict[str, list[str]] = {}
        """What dialogs offer to pick of: names by kind, as they were last heard of."""

    def get_driver_class(self) -> type[Driver]:
        chosen = super().get_driver_class()
        if sys.platform == "win32":
            return chosen
        from tui.drivers import PROMPT

        return PROMPT.get(chosen, chosen)

    def get_line_filters(self) -> Sequence[LineFilter]:
        filters = [_NO_CONTROL, *super().get_line_filters()]
        if self.no_color:  # in Textual's way there would be greys
            filters = [_NO_COLOUR if isinstance(each, Monochrome) else each for each in filters]
        elif (palette := _PALETTES.get(self.console.color_system or "")) is not None:
            filters.append(palette)
        return filters

    def get_css_variables(self) -> dict[str, str]:
        variables = super().get_css_variables()
        if self.no_color or self.console.color_system == _FEW:
            variables |= {
                "block-cursor-background": variables["background"],
                "block-cursor-foreground": variables["foreground"],
                "block-cursor-text-style": "reverse",
                "block-cursor-blurred-text-style": "underline",
                "input-cursor-text-style": "reverse",
            }
        return variables

    def on_mount(self) -> None:
        self.set_interval(_RETRY, self._seek)
        self.theme_changed_signal.subscribe(self, lambda _: self.set_timer(PAUSE, self._restyle_next))
        self._find()

    async def on_unmount(self) -> None:
        await self.link.close()

    async def on_event(self, event: Event) -> None:
        if isinstance(event, InputEvent):
            self._when_heard()
            self._heard_at = time.monotonic()
        await super().on_event(event)

    def settled(self) -> None:
        """One of the screens that stay shows for the first time what was asked for it."""
        self._when_settled()
        if self._ahead_too:
            self.set_timer(PAUSE, self._make_next)

    def _make_next(self) -> None:
        """Makes a screen that nobody has opened yet, with nobody waiting for it; then the dialogs, then the other
        theme's styles."""
        if not self._calm(self._make_next):
            return
        while self._ahead:
            place = self._ahead.pop(0)
            if place.mode not in self._screen_stacks:
                self._init_mode(place.mode)
                return
        kinds: Iterable[type[QuickScreen[Any]]] = (*DIALOGS, *map(opened, OPENED))
        for kind in kinds:
            if kind not in self._kept:
                self._get_screen(self.kept(kind))
                self.set_timer(PAUSE, self._make_next)
                return
        if self._preparing is None:
            self._preparing = self._sheets.prepare(self._other_variables())
        if next(self._preparing, self) is None:
            self.set_timer(PAUSE / 10, self._make_next)

    def _calm(self, then: Callable[[], None]) -> bool:
        """Whether nobody types; else `then` is called once that is so."""
        since = time.monotonic() - self._heard_at
        if since < _CALM:
            self.set_timer(_CALM - since, then)
        return since >= _CALM

    def _other_variables(self) -> dict[str, str]:
        """Those of the theme that is not shown."""
        shown, variables = self.theme, self.theme_variables
        self.set_reactive(AdminApp.theme, LIGHT.name if self.current_theme.dark else DARK.name)
        try:
            return self.get_css_variables()
        finally:
            self.set_reactive(AdminApp.theme, shown)
            self.theme_variables = variables

    def delay_update(self, delay: float = 0.0) -> None:
        """Textual shows nothing for 50 ms when another screen comes in front; here that is ready sooner."""

    def _restyle_next(self) -> None:
        """Gives a screen that is not in front its styles after the theme has changed."""
        if not self._calm(self._restyle_next):
            return
        stacks = (*self._screen_stacks.values(), self._kept.values())
        if any(self._restyle(screen) for stack in stacks for screen in stack):
            self.set_timer(PAUSE, self._restyle_next)

    def _restyle(self, screen: Screen[Any]) -> bool:
        """Whether it had the styles of another theme until now."""
        stale = screen._css_update_count != self._css_update_count
        if stale:
            screen._css_update_count = self._css_update_count
            self.stylesheet.update(screen, animate=False)
        return stale

    def _link_changed(self) -> None:
        self.post_message(LinkChanged())

    def on_link_changed(self) -> None:
        was = self.whereabouts[0]
        self.whereabouts = (self.link.state, self.link.where, self.link.place)
        if was == "lost" and self.link.state == "up":
            self.notify("The gateway answers again.")
            self.call_later(self.screen.run_action, "reload")

    def _seek(self) -> None:
        if self.link.state == "lost":
            self._find()

    def _find(self) -> None:
        self.run_worker(self._knock(self._welcome), group="find", exclusive=True)

    async def _knock(self, welcome: bool) -> None:
        # Screens tell what is wrong with what they ask.
        with contextlib.suppress(NexeonError):
            await self.link.call("status")
            if welcome:
                self.post_message(Looked(bool((await self.link.call("accounts.list", limit=1))["items"])))

    def on_looked(self, message: Looked) -> None:
        self._welcome = False
        if not message.found and len(self.screen_stack) == 1:
            self.action_first()

    def action_first(self) -> None:
        from tui.screens.first import FirstScreen

        if not isinstance(self.screen, FirstScreen) and not self.screen.is_modal:
            self.push_screen(FirstScreen())

    def action_go(self, mode: str) -> None:
        """To another screen; dialogs and what was opened there stay as they were."""
        if mode != self.current_mode and not self.screen.is_modal:
            self._visited.append(self.current_mode)
            self._enter(mode)

    def _enter(self, mode: str) -> AwaitMount:
        for screen in self._screen_stacks.get(mode, ()):
            self._restyle(screen)  # Textual would go through every style sheet
        return self.switch_mode(mode)

    async def visit(self, mode: str, wanted: str) -> None:
        """To another screen, for a record there."""
        if mode != self.current_mode:
            self._visited.append(self.current_mode)
            await self._enter(mode)
        if isinstance(self.screen, AdminScreen):
            self.screen.seek(wanted)

    async def action_back(self) -> None:
        """To the screen below, else to the one before, else out."""
        if len(self.screen_stack) > 1:
            self.action_back_only()
        elif self._visited:
            await self._enter(self._visited.pop())
        else:
            self.exit()

    def action_back_only(self) -> None:
        """To the screen below, once the one in front is whole: it may be in the midst of being made."""
        if len(self.screen_stack) > 1:
            if self.screen.is_mounted:
                self.pop_screen()
            else:
                self.set_timer(1 / 100, self.action_back_only)

    def is_open(self, screen: Screen[Any]) -> bool:
        """Whether it is in front, or comes back there once others were left."""
        return any(screen in stack for stack in self._screen_stacks.values())

    def kept(self, kind: type[K]) -> K:
        """A screen of that kind, to be asked and pushed: the one that is kept, unless that is open."""
        kept = self._kept.get(kind)
        if kept is None:
            kept = self._kept[kind] = kind()
            self.install_screen(kept, kind.__name__)
        elif self.is_open(kept):
            kept = kind()
        assert isinstance(kept, kind)
        self._restyle(kept)
        return kept

    def action_help(self) -> None:
        if not self.screen.is_modal:
            help = self.kept(HelpScreen)
            help.ask(self.screen)
            self.push_screen(help)

    def action_find(self) -> None:
        """Where there is no list to search: any screen, any act."""
        self.action_command_palette()

    def action_command_palette(self) -> None:
        if isinstance(self.screen, PaletteScreen):
            self.screen.action_leave()
        elif not self.screen.is_modal:
            palette = self.kept(PaletteScreen)
            palette.ask(commands(self))
            self.push_screen(palette, self._do)

    def _do(self, act: Callable[[], Any] | None) -> None:
        if act is not None:
            self.call_later(act)

    def action_theme(self) -> None:
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name


def run(connect: Connect) -> None:
    """Opens the terminal; `connect` makes the client it works through."""
    if colourless():
        os.environ["NO_COLOR"] = "1"
    sweeper = Sweeper()
    AdminApp(connect, ahead=True, settled=sweeper.settled, heard=sweeper.heard).run()
