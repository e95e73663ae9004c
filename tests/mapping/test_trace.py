"""Traced mappings: they give what the plain ones give, and say where every value came from."""

from __future__ import annotations

from typing import Any

import pytest

from nexeon.data import data_path
from nexeon.errors import MappingFailure
from nexeon.mapping import load_library, new_context
from nexeon.mapping.cases import Case, read_cases, run_case
from nexeon.mapping.provenance import Recorder, fresh
from nexeon.mapping.runtime import Transform
from nexeon.mapping.schemas import Schemas
from nexeon.mapping.source import Map, parse
from nexeon.mapping.trace import TracedLibrary, TracedModule

MAPPINGS = data_path("mappings")


def test_every_case_beside_the_mappings_holds_for_traced_ones() -> None:
    recorder = Recorder()
    library = TracedLibrary([MAPPINGS], recorder)
    for name in library.names:
        library.format(name)
        for dialect in library.dialect_names:
            library.dialect(dialect, name, "")
    schemas = Schemas(data_path("schemas"))
    count = 0
    for case in read_cases(MAPPINGS / "tests"):
        assert isinstance(case, Case), str(case)
        recorder.begin()
        assert run_case(case, library, schemas) is None, case.name
        count += 1
    assert count > 300


def traced(text: str, given: Any) -> tuple[Any, Recorder]:
    """A `mapping:` of the language run on an input."""
    source = parse(text, "m.yaml")
    assert isinstance(source.root, Map)
    template = source.root.get("mapping")
    assert template is not None
    recorder = Recorder()
    module = TracedModule(recorder, source)
    make = module.add(template, "body", "test")
    module.finish()
    transform: Transform = make()
    given = fresh(given)
    recorder.input(given)
    return transform(given, new_context(format="m")), recorder


@pytest.mark.parametrize(
    ("mapping", "given", "path", "expected"),
    [
        ("mapping:\n  a: '{{ body.x }}'\n", {"x": 1}, ("a",), (["m.yaml:2"], ["x"], True)),
        ("mapping:\n  a: '{{ body.x.y | default(5) }}'\n", {"x": {"y": True}}, ("a",), (["m.yaml:2"], ["x.y"], True)),
        ("mapping:\n  a: '{{ body.x.y | default(5) }}'\n", {}, ("a",), (["m.yaml:2"], [], False)),
        ("mapping:\n  a: '{{ body.x + body.y }}'\n", {"x": 1, "y": 2}, ("a",), (["m.yaml:2"], ["x", "y"], False)),
        ("mapping:\n  a: no\n  b:\n    c: '{{ body.x }}'\n", {"x": "t"}, ("b", "c"), (["m.yaml:4"], ["x"], True)),
        (
            "define:\n  f(m):\n    t: '{{ m.x }}'\nmapping:\n  - '{{ f(body.list[0]) }}'\n",
            {"list": [{"x": "text"}]},
            (0, "t"),
            (["m.yaml:3"], ["list[0].x"], True),
        ),
        (
            "define:\n  f(n): '{{ n }}'\nmapping:\n  a: '{{ f(body.n) }}'\n",
            {"n": 3, "m": 3},
            ("a",),
            (["m.yaml:4"], ["n"], True),
        ),
        (
            "mapping:\n  $let: {n: '{{ body.n }}', other: '{{ body.m }}'}\n  a: '{{ n }}'\n",
            {"n": 3, "m": 3},
            ("a",),
            (["m.yaml:3"], ["n"], True),
        ),
        (
            "mapping:\n  - $for: x in body.xs\n    $where: x > 1\n    $then: '{{ x }}'\n",
            {"xs": [1, 2]},
            (0,),
            (["m.yaml:4"], ["xs[1]"], True),
        ),
        (
            "mapping:\n  - $for: k, v in body\n    name: '{{ k }}'\n    value: '{{ v }}'\n",
            {"key": 7},
            (0, "value"),
            (["m.yaml:4"], ["key"], True),
        ),
        (
            "tables:\n  t: {low: 1}\nmapping:\n  a: '{{ tables.t[body.effort] }}'\n",
            {"effort": "low"},
            ("a",),
            (["m.yaml:4"], ["effort"], False),
        ),
        (
            "mapping:\n  $merge:\n    - {a: 1}\n    - b: '{{ body.x }}'\n    - '{{ body.more }}'\n",
            {"x": "text", "more": {"c": 2}},
            ("c",),
            (["m.yaml:5"], ["more.c"], True),
        ),
        (
            "mapping: \"{{ body.turns | merge_adjacent('role', 'list') }}\"\n",
            {"turns": [{"role": "u", "list": [{"t": "one"}]}, {"role": "u", "list": [{"t": "two"}]}]},
            (0, "list", 1, "t"),
            ([], ["turns[1].list[0].t"], True),
        ),
        ("mapping:\n  a: '{{ [body.s] | join }}'\n", {"s": "text"}, ("a",), (["m.yaml:2"], ["s"], True)),
        (
            "mapping:\n  a: \"{{ body.mode | default('no') if body.on else 'off' }}\"\n",
            {"on": True, "mode": "x1"},
            ("a",),
            (["m.yaml:2"], ["mode"], True),
        ),
    ],
)
def test_a_value_knows_where_it_came_from(
    mapping: str, given: Any, path: tuple[Any, ...], expected: tuple[list[str], list[str], bool]
) -> None:
    result, recorder = traced(mapping, given)
    container = result
    for step in path[:-1]:
        container = container[step]
    origin = recorder.origin(container, path[-1])
    assert (origin.lines, origin.sources, origin.same) == expected


def test_losses_know_their_lines() -> None:
    _, recorder = traced("mapping:\n  - $for: b in body\n    $drop: 'block {{ b.t }}'\n", [{"t": "video"}])
    (loss,) = recorder.losses
    assert (loss.line, loss.reason) == ("m.yaml:3", "block video")


def test_a_failure_names_the_line_of_the_mapping_all_the_same() -> None:
    with pytest.raises(MappingFailure, match=r"m\.yaml:3 · b\[0\]: no x"):
        traced("mapping:\n  - $for: one in body.b\n    $fail: no x\n", {"b": [{"x": 1}]})


def test_functions_that_serve_are_not_traced() -> None:
    library = load_library([MAPPINGS])
    for form in library.formats.values():
        for transform in form.transforms.values():
            assert not [name for name in transform.function.__code__.co_names if name.startswith("trace_")]
