"""Screens that open quickly: their styles are worked out once, where Textual does so four times; dialogs are kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from rich.console import RenderableType
from textual.events import Click, ScreenResume, ScreenSuspend
from textual.geometry import Size
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import ModalScreen, Screen
from textual.widgets._toast import ToastRack

from tui.compositing import QuickCompositor
from tui.widgets.beneath import Beneath

if TYPE_CHECKING:
    from tui.app import AdminApp

R = TypeVar("R")

_APART: Final = 0.5
"""Time from one drawing to the next, as a part of what the one before took."""


class QuickScreen(Screen[R]):
    def __init__(self, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name, id, classes)
        self._next_drawing = 0.0
        self._compositor = QuickCompositor()
        app = self.app
        # Mounting gives a new screen its styles. Textual takes them for stale, and would parse every style sheet again.
        self._css_update_count = app._css_update_count
        # Else they come with the first layout, and the styles once more.
        for size, breakpoints in (
            (app.size.width, app.HORIZONTAL_BREAKPOINTS),
            (app.size.height, app.VERTICAL_BREAKPOINTS),
        ):
            self.add_class(*[name for least, name in sorted(breakpoints or ()) if size >= least][-1:])

    @property
    def admin(self) -> AdminApp:
        from tui.app import AdminApp

        assert isinstance(self.app, AdminApp)
        return self.app

    def on_screen_resume(self, event: ScreenResume) -> None:
        event.refresh_styles = False  # they change with the theme only, which refreshes those of all screens

    def on_idle(self) -> None:
        """Draws what has changed now, where Textual waits for the next tick of its clock."""
        changed = self._layout_required or self._scroll_required or self._repaint_required or self._dirty_widgets
        if not changed or not self.is_current or self.app._batch_count or self.waits():
            return
        if self.app.message_queue_size or (self.focused is not None and self.focused.message_queue_size):
            return  # more of what was typed at once, or pasted
        begun = time.monotonic()
        if begun >= self._next_drawing:
            self._on_timer_update()
            over = time.monotonic()
            self._next_drawing = over + (over - begun) * _APART

    def waits(self) -> bool:
        """Whether what is to be drawn first is about to come: until then nothing is drawn."""
        return False

    def _on_timer_update(self) -> None:
        if not self.waits():
            super()._on_timer_update()

    def _compositor_refresh(self) -> None:
        if not self._repaint_required:  # else all of it is drawn next, and not what was just laid out before that
            super()._compositor_refresh()

    def _screen_resized(self, size: Size) -> None:
        """A new screen hears the size that it was just laid out for, and has those below it hear it, too: Textual would
        lay out all of them once more."""
        if size != self._compositor.size:
            super()._screen_resized(size)

    def on_screen_suspend(self, event: ScreenSuspend) -> None:
        self._repaint_required = False  # Textual has it drawn anew below the dialog, and the dialog with it
        for rack in self.children:
            if isinstance(rack, ToastRack) and rack.display:  # what is told stands above the dialog now
                rack.display = False
                self._refresh_layout(self.size)


class Dialog(ModalScreen[R], QuickScreen[R]):
    """Over the screen that asks. (The styles are those of the first base.)

    The app keeps one of each kind (`AdminApp.kept`), since making one takes longer than all else: `ask`, which each
    kind has, takes what is asked, and calls `renew`; `show` puts it into the widgets.
    """

    auto_links = False
    beside: ClassVar[str] = ""
    """The action that a click beside it stands for; none where that would lose what was typed, or is asked."""

    async def on_click(self, event: Click) -> None:
        if self.beside and self.get_widget_at(event.screen_x, event.screen_y)[0] is self:
            await self.run_action(self.beside)

    def show(self) -> None:
        """Shows what is asked now, instead of what was asked before."""

    def renew(self) -> None:
        if self.is_mounted:
            self.show()

    def on_mount(self) -> None:
        self.show()

    def answer(self, result: R) -> None:
        """Goes, with that; the next who asks finds the focus where it is at first."""
        self.set_focus(None)
        self.dismiss(result)

    def render(self) -> RenderableType | Beneath:  # type: ignore[override]
        drawn = super().render()
        return Beneath(drawn) if isinstance(drawn, BackgroundScreen) else drawn
