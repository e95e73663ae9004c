"""A plot with axes, where there is room for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical

if TYPE_CHECKING:
    from textual_plotext import PlotextPlot


class Plot(Vertical):
    """Lines over the last seconds; `colours` are variables of the theme, one for each of `names`."""

    DEFAULT_CLASSES = "panel"

    def __init__(self, title: str, names: Sequence[str], colours: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = title
        legend = zip(names, colours, strict=True)
        self.border_subtitle = " ".join(f"[${colour}]● {name}[/]" for name, colour in legend)
        self._colours = colours
        self._plot: PlotextPlot | None = None
        self._span = 0
        self._lines: Sequence[Sequence[float | None]] = ()

    def compose(self) -> ComposeResult:
        yield from ()

    def draw(self, span: int, lines: Sequence[Sequence[float | None]]) -> None:
        """Each line's values, oldest first; None where there is none. They are drawn once there is room for them."""
        self._span, self._lines = span, lines
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        span, lines = self._span, self._lines
        if not lines or self.size.height < 5:
            return
        if self._plot is None:
            from textual_plotext import PlotextPlot  # slow to import, and for large terminals only

            self._plot = PlotextPlot()
            self.mount(self._plot)
        plt = self._plot.plt
        plt.clear_data()
        ground = self._colour("background")
        plt.canvas_color(ground)
        plt.axes_color(ground)
        plt.ticks_color(self._colour("border"))
        plt.xaxes(True, False)
        plt.yaxes(True, False)
        top = 0.0
        for values, colour in zip(lines, self._colours, strict=True):
            known = [(index, value) for index, value in enumerate(values) if value is not None]
            if not known:
                continue
            count = max(len(values) - 1, 1)
            places = [-span * (1 - index / count) for index, _ in known]
            heights = [value for _, value in known]
            top = max(top, *heights)
            plt.plot(places, heights, marker="braille", color=self._colour(colour))
        plt.xlim(-span, 0)
        plt.ylim(0, top * 1.1 or 1)
        marks = [-span, -span / 2, 0]
        plt.xticks(marks, [_ago(mark) for mark in marks])
        plt.grid(False, False)
        self._plot.refresh()

    def _colour(self, name: str) -> tuple[int, int, int]:
        from textual.color import Color

        return Color.parse(self.app.theme_variables[name]).rgb


def _ago(mark: float) -> str:
    if not mark:
        return "now"
    return f"{mark:.0f} s" if mark > -600 else f"{mark / 60:.0f} min"
