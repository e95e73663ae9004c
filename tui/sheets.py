"""Style sheets that are parsed once for each theme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from textual.cache import LRUCache
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

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

    def prepare(self, variables: dict[str, str]) -> Iterator[None]:
        """Parses all there is for other variables, too; one source a step."""
        other = Stylesheet(variables=variables)
        other._parse_cache = self._parsed_for(variables)
        for place, (css, default, tie_breaker, scope) in list(self.source.items()):
            other._parse_rules(css, place, default, tie_breaker, scope)
            yield
