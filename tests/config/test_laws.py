"""Laws of merging and loading, for any tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nexeon.config import load_config
from nexeon.config.source import read_files
from nexeon.errors import ConfigError, Problem

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", "up", "no", ""])
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
MAPS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


def patched(base: Any, over: Any) -> Any:
    """JSON Merge Patch (RFC 7396), which is what the words of the design say; a map in a list has no nulls either."""
    if isinstance(over, list):
        return [patched(None, item) for item in over]
    if not isinstance(over, dict):
        return over
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = patched(result.get(key), value)
    return result


@settings(deadline=None)  # the machine is shared
@given(st.lists(MAPS, min_size=1, max_size=4))
def test_merging_is_json_merge_patch(tmp_path_factory: pytest.TempPathFactory, maps: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("merge")
    expected: Any = {}
    files = []
    for index, part in enumerate(maps):
        files.append(folder / f"{index}.yaml")
        files[-1].write_text(yaml.safe_dump(part))
        expected = patched(expected, part)
    tree, readable = read_files(files, {})
    assert readable
    assert tree.value == expected


WORDS = """
    server store url admin mappings routes providers models up m path methods format formats auth value header price
    tiers above input output targets provider model aliases owned_by created base_url api_key
"""
KEYS = st.sampled_from(WORDS.split())
WILD = st.recursive(
    SCALARS | st.sampled_from(["{{ key }}", "${", "${X}", "https://[", "/a/{b}"]) | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


@settings(deadline=None)  # the machine is shared
@given(st.dictionaries(KEYS, WILD, max_size=5))
def test_no_configuration_breaks_the_loader(tmp_path_factory: pytest.TempPathFactory, wild: Any) -> None:
    path = tmp_path_factory.mktemp("wild") / "gateway.yaml"
    path.write_text(yaml.safe_dump(wild))
    for problem in problems_of(path):
        assert problem.file == str(path)
        assert problem.message


def problems_of(path: Path) -> list[Problem]:
    try:
        load_config([path], environ={}, formats=["f"], dialects=["d"])
    except ConfigError as error:
        return error.problems
    return []
