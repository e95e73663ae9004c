"""The line at the top: every screen with its number key, the current one marked."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from tui.places import PLACES

_COMMANDS: Final = Style.from_meta({"commands": True})


class Nav(Widget):
    """A click on a screen goes there; one on the name shows all that can be done."""

    current: reactive[str] = reactive("")

    def __init__(self, current: str) -> None:
        super().__init__()
        self.set_reactive(Nav.current, current)

    def render(self) -> Content:
        """The longest form that fits."""
        titles, short = [place.title for place in PLACES], [place.short for place in PLACES]
        forms = ((" NeXeon ", titles, " "), (" NeXeon ", short, " "), ("", short, ""), ("", [""] * len(PLACES), ""))
        lines = (self._line(*form) for form in forms)
        return next((line for line in lines if line.cell_length <= self.size.width), Content(""))

    def _line(self, brand: str, titles: list[str], end: str) -> Content:
        parts = [Content.styled(brand, "bold $primary").stylize(_COMMANDS)] if brand else []
        for place, title in zip(PLACES, titles, strict=True):
            chosen = place.mode == self.current
            text = f" {place.key} {title}{end}" if title else f" {place.key}"
            style = "bold reverse $primary" if chosen else "$foreground 80%"
            parts.append(Content.styled(text, style).stylize(Style.from_meta({"mode": place.mode})))
        return Content("").join(parts)

    async def on_click(self, event: events.Click) -> None:
        if mode := event.style.meta.get("mode"):
            await self.run_action(f"app.go('{mode}')")
        elif event.style.meta.get("commands"):
            await self.run_action("app.command_palette")
