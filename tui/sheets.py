"""Style sheets that are parsed once for each theme, and draw a widget anew once for all colours that change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from textual.cache import LRUCache
from textual.color import Color
from textual.css.model import RuleSet
from textual.css.styles import RulesMap
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.widget import Widget

_SOURCES = 512
"""More than there are: the app's sheet, and one for each kind of widget."""


class Sheets(Stylesheet):
    """Textual's own forgets what it parsed with every other theme, and parses all of it again."""

    def __init__(self, *, variables: dict[str, str]) -> None:
        super().__init__(variables=variables)
        self._parsed: dict[frozenset[tuple[str, str]], LRUCache[tuple[Any, ...], list[RuleSet]]] = {}
        self._parse_cache = self._parsed_for(variables)

    def _parsed_for(self, variables: Mapping[str, str]) -> LRUCache[tuple[Any, ...], list[RuleSet]]:
        return self._parsed.setdefault(frozenset(variables.items()), LRUCache(_SOURCES))

    def set_variables(self, variables: dict[str, str]) -> None:
        self._parse_cache = LRUCache(1)  # which is emptied now
        super().set_variables(variables)
        self._parse_cache = self._parsed_for(variables)

    def reparse(self) -> None:
        self.parse()

    @classmethod
    def replace_rules(cls, node: DOMNode, rules: RulesMap, animate: bool = False) -> None:
        """Textual's own has a widget, and all within it, drawn anew for each colour; another theme changes twenty."""
        if animate:
            super().replace_rules(node, rules, animate)
            return
        styles = node.styles.base
        old, new = styles.get_rules(), dict(rules)
        coloured = False
        for name in old.keys() | new.keys():
            was, value = old.get(name), new.get(name)
            if was == value:
                continue
            if _of_colour(was, value):
                coloured |= styles.set_rule(name, value)
            else:
                setattr(styles, name, value)
        if coloured:
            styles.refresh(children=True)
            if isinstance(node, Widget):
                for bar in (node._vertical_scrollbar, node._horizontal_scrollbar):
                    if bar is not None:
                        bar.refresh()
        node.notify_style_update()

    def prepare(self, variables: dict[str, str]) -> Iterator[None]:
        """Parses all there is for other variables, too; one source a step."""
        other = Stylesheet(variables=variables)
        other._parse_cache = self._parsed_for(variables)
        for place, (css, default, tie_breaker, scope) in list(self.source.items()):
            other._parse_rules(css, place, default, tie_breaker, scope)
            yield


def _of_colour(was: object, value: object) -> bool:
    """Whether two values of a style differ in nothing but a colour."""
    match was, value:
        case (Color() | None, Color()) | (Color(), None):
            return True
        case (str(edge), Color()), (str(other), Color()):
            return edge == other
    return False
