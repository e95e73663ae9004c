"""The mapping folders' files of what is served beside formats: catalogs, resources and counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nexeon.errors import MappingError, Problem
from nexeon.gateway.answers.resource import load_resources
from nexeon.gateway.server.catalog import load_catalogs
from nexeon.gateway.server.counting import load_counters
from nexeon.mapping import Library

_LOADERS: Final[tuple[Callable[[Library], Any], ...]] = (load_catalogs, load_resources, load_counters)


def page_problems(library: Library) -> list[Problem]:
    """Everything that is wrong with these files."""
    problems: list[Problem] = []
    for load in _LOADERS:
        try:
            load(library)
        except MappingError as error:
            problems += error.problems
    return problems
