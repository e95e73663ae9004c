"""YAML 1.2 core with line numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nexeon.errors import LoadError
from nexeon.wire import yamlfile
from nexeon.wire.yamlfile import core_scalar, load_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("y", "y"),
        ("2024-10-22", "2024-10-22"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("+3", 3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("|\n  5\n", "5\n"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    assert load_yaml(f"k: {text}") == ({"k": value}, load_yaml(f"k: {text}")[1])
    assert type(load_yaml(f"k: {text}")[0]["k"]) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(core_scalar(".nan"))


def test_keys_are_text_as_written() -> None:
    assert load_yaml("{no: 1, 5: 2, ~: 3, 1.0: 4, 'a b': 5}")[0] == {"no": 1, "5": 2, "~": 3, "1.0": 4, "a b": 5}


def test_lines() -> None:
    value, positions = load_yaml("# head\na:\n  - 1\n  - b: |\n      text\n    c: {d: 1,\n        e: 2}\n")
    assert value == {"a": [1, {"b": "text\n", "c": {"d": 1, "e": 2}}]}
    assert positions.line(("a",)) == 2
    assert positions.line(("a", 0)) == 3
    assert positions.line(("a", 1, "b")) == 4
    assert positions.line(("a", 1, "c", "e")) == 7
    assert positions.line(("a", 1, "c", "unwritten", 3)) == 6
    assert load_yaml("")[1].line(("a",)) == 0


def test_an_alias_is_the_anchors_value() -> None:
    assert load_yaml("a: &x [1]\nb: *x\nc: *x")[0] == {"a": [1], "b": [1], "c": [1]}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a: 1\nb: 2\na: 3\nb: 4", ["<text>:3: duplicate key `a`: first on line 1",
                                    "<text>:4: duplicate key `b`: first on line 2"]),
        ("a: {{ x }}", ["<text>:1: a key must be text: put text with `{{` in quotes"]),
        ("a: {[x]: 1}", ["<text>:1: a key must be text"]),
        ("x: 1\ny: &a\n  b: *a", ["<text>:2: an alias stands inside what it names"]),
        ("a: !!set {x}", []),
        ("a: !secret x", ["<text>:1: unknown tag `!secret`"]),
        ("a: 1e999", ["<text>:1: a number too large"]),
        ("a: " + "9" * 5000, ["<text>:1: a number too large"]),
        ("a: !!int x", ["<text>:1: this is no int"]),
        ("a\x00b", ["<text>:1: a control character stands here; YAML allows none"]),
        ("[" * 3000, ["<text>: nested too deeply"]),
        ("a: b: c", ["<text>:1: YAML syntax: mapping values are not allowed here"]),
        ("a: *nowhere", ["<text>:1: YAML syntax: found undefined alias 'nowhere'"]),
        ("a: 1\n---\nb: 2", ["<text>:2: YAML syntax: but found another document"
                             " (expected a single document in the stream from line 1)"]),
    ],
)  # fmt: skip
def test_problems(text: str, problems: list[str]) -> None:
    assert [str(problem) for problem in read_yaml(text).problems] == problems
    if problems:
        with pytest.raises(LoadError):
            load_yaml(text)


def test_the_name_stands_in_problems(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\na: 2")
    assert read_yaml(path).problems[0].file == str(path)
    assert read_yaml(path, "x").problems[0].file == "x"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert load_yaml(path)[0] == {"a": 1}


def test_pure_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: [no, 1, {b: ~, 'c': 1e3}]\nd:\n- 'x'\n- \"y\"\n- >\n  z\n"
    fast = load_yaml(text)
    monkeypatch.setattr(yamlfile, "_FastLoader", yamlfile._PureLoader)
    assert load_yaml(text) == fast


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


class Dumper(yaml.SafeDumper):
    """Puts text in quotes: the dumper's YAML 1.1 leaves plain what is a number in 1.2."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


Dumper.add_representer(str, _quoted)


@settings(deadline=None)  # the machine is shared
@given(JSON)
@example("0E0")
@example({"1e3": ["0E0", "0o7", "no", "~", ".5", "=", "<<"]})
@example([0.0, -0.0, 1e16, 1e-7, 10**30])
def test_reads_what_a_dumper_writes(value: Any) -> None:
    assert load_yaml(yaml.dump(value, Dumper=Dumper))[0] == value


@settings(deadline=None)  # the machine is shared
@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    document = read_yaml(text)
    assert document.problems or not document.broken
