"""Puts a screen together from its widgets: only what is to be drawn, and of that only what nothing else covers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from rich.console import Console
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

Span = tuple[int, int, int]
"""A line, and the columns from which and before which it is drawn."""


class QuickCompositor(Compositor):
    """Textual's own has every widget draw all its lines, also those below others: background, containers, what a
    dialog stands on."""

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        update = super().render_full_update(simplify)
        return QuickLayout(update.strips, update.region)

    def render_partial_update(self) -> ChopsUpdate | None:
        screen = self.size.region
        regions = [shown for region in self._dirty_regions if (shown := region.intersection(screen))]
        self._dirty_regions.clear()
        if not regions:
            return None
        spans = list(self._regions_to_spans(regions))
        return QuickChops(self._composed(spans), spans, [line[1:] for line in self.cuts])

    def _render_chops(self, crop: Region, is_rendered_line: Callable[[int], bool]) -> Sequence[Mapping[int, Strip]]:
        return self._composed((y, crop.x, crop.right) for y in crop.line_range if is_rendered_line(y))

    def _composed(self, spans: Iterable[Span]) -> list[dict[int, Strip]]:
        """By line, what is drawn there by the column where it begins."""
        cuts = self.cuts
        chops: list[dict[int, Strip]] = [{} for _ in cuts]
        bare: list[set[int]] = [set() for _ in cuts]
        """By line, the columns where something begins that is not drawn yet."""
        for y, first, end in spans:
            line = cuts[y]
            bare[y].update(cut for cut, after in pairwise(line) if cut < end and after > first)
        for widget, (whole, clip) in self.visible_widgets.items():  # from the front to the back
            region = whole.intersection(clip)
            left, right = region.column_span
            lines = [y for y in region.line_range if any(left <= cut < right for cut in bare[y])]
            if not lines:
                continue
            top = lines[0]
            drawn = Region(region.x - whole.x, top - whole.y, region.width, lines[-1] + 1 - top)
            strips = widget.render_lines(drawn)
            for y in lines:
                own = [cut for cut in cuts[y] if left <= cut <= right]
                for cut, piece in zip(own, strips[y - top].divide([cut - left for cut in own[1:]]), strict=False):
                    if cut in bare[y]:
                        bare[y].remove(cut)
                        chops[y][cut] = piece
        return [dict(sorted(chop.items())) if len(chop) > 1 else chop for chop in chops]


class QuickLayout(LayoutUpdate):
    """The whole screen."""

    def render_segments(self, console: Console) -> str:
        lines = enumerate(self.strips, self.region.y)
        return "".join(_to(self.region.x, y) + "".join([strip.render(console) for strip in line]) for y, line in lines)


class QuickChops(ChopsUpdate):
    """Parts of the screen."""

    def render_segments(self, console: Console) -> str:
        return "".join(self._rendered(console))

    def _rendered(self, console: Console) -> Iterator[str]:
        for y, first, end in self.spans:
            at = -1
            for x, strip in self.chops[y].items():
                if strip is None or x >= end or x + strip.cell_length <= first:
                    continue
                if x != at:
                    yield _to(x, y)
                yield strip.crop(0, end - x).render(console)
                at = x + strip.cell_length


def _to(x: int, y: int) -> str:
    """Moves the terminal's cursor."""
    return f"\x1b[{y + 1};{x + 1}H"
