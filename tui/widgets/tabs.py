"""Titles side by side, of which one is chosen: one widget, since a screen takes longer to open with each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widget import Widget


class TabLine(Widget, can_focus=True):
    """← and →, or a click, choose another one; where there is too little room for all, the chosen one is in sight."""

    class Chosen(Message):
        """Another one was chosen; `at` is its place."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    TabLine {
        height: 2;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Tab before", show=False),
        Binding("right", "step(1)", "Next tab", show=False),
    ]

    def __init__(self, titles: Sequence[str] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.active = 0
        self._titles = list(titles)

    def show(self, titles: Sequence[str], active: int = 0) -> None:
        """These in place of those before."""
        self._titles = list(titles)
        self.active = active
        self.refresh()

    def choose(self, at: int) -> None:
        if self._titles and at != self.active:
            self.active = at
            self.refresh()
            self.post_message(self.Chosen(at))

    def action_step(self, steps: int) -> None:
        """After the last one comes the first."""
        if self._titles:
            self.choose((self.active + steps) % len(self._titles))

    def render(self) -> Content:
        width = self.size.width
        parts, start, end, used = [], 0, 0, 0
        for at, title in enumerate(self._titles):
            style = "$foreground 65%"
            if at == self.active:
                start, end = used + 1, used + 1 + Content(title).cell_length
                style = "$foreground"
                if self.has_focus:
                    style = "$block-cursor-text-style $block-cursor-foreground on $block-cursor-background"
            part = Content.styled(f" {title} ", style).stylize(Style.from_meta({"tab": at}))
            parts.append(part)
            used += part.cell_length
        away = max(min(end + 1 - width, start - 1), 0)  # columns that are out of sight on the left
        line = Content("").join(parts)[away : away + width]
        return Content("\n").join([line, self._bar(start - away, min(end - away, width), width)])

    def _bar(self, start: int, end: int, width: int) -> Content:
        """A line below all of them, and a brighter piece of it below the chosen one."""
        quiet = f"$foreground {30 if self.has_focus else 10}%"
        before = "━" * (start - 1) + "╸" if start > 0 else ""
        after = "╺" + "━" * (width - end - 1) if end < width else ""
        return Content.assemble((before, quiet), ("━" * (end - start), "$primary"), (after, quiet))

    def on_click(self, event: events.Click) -> None:
        at = event.style.meta.get("tab")
        if at is not None:
            event.stop()
            self.choose(at)
