"""The language as `mappings/README.md` teaches it, its failures and what it refuses at load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nexeon.errors import MappingError, MappingFailure
from nexeon.mapping import MISSING, new_context
from nexeon.mapping.module import Module
from nexeon.mapping.schemas import plain_json
from nexeon.mapping.source import Map, parse, plain

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", (ROOT / "mappings/README.md").read_text(encoding="utf-8"), re.DOTALL)


def compile_text(text: str) -> Any:
    """The `mapping` of a YAML text with its tables and functions, as a callable."""
    source = parse(text, "m.yaml")
    module = Module(source)
    assert isinstance(source.root, Map)
    template = source.root.get("mapping")
    assert template is not None
    make = module.add(template, "body", "main")
    module.finish()
    return make()


def run(text: str, given: Any = None, **facts: Any) -> Any:
    return compile_text(text)(given, new_context(**facts))


def test_the_readme_has_an_example_for_each_control_word() -> None:
    text = "\n".join(EXAMPLES)
    words = (
        "$if",
        "$else",
        "$then",
        "$for",
        "$where",
        "$match",
        "$missing",
        "$drop",
        "$fail",
        "$let",
        "$first",
        "$merge",
        "$call",
        "$item",
    )
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_readme_example(example: str) -> None:
    data = plain(parse(example, "example").root)
    ctx = new_context()
    transform = compile_text(example)
    if "fails" in data:
        with pytest.raises(MappingFailure) as failure:
            transform(data["given"], ctx)
        assert failure.value.message == data["fails"]
        return
    result = transform(data["given"], ctx)
    assert (result if result is MISSING else plain_json(result)) == data.get("expect", MISSING)
    assert ctx["dropped"] == data.get("dropped", [])


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ('mapping: "{{ body.x }}"', {"x": "42"}, "42"),  # text that looks like a number stays text
        ('mapping: "{{ body.items }}"', {"items": 1}, 1),  # not dict.items
        ('mapping: "{{ body.items }}"', {}, MISSING),
        ('mapping: "a {{ body.x }}"', {}, MISSING),
        ('mapping: "{{ body.x == 1 }}"', {"x": True}, False),
        ("mapping: \"{{ body.x != 'a' }}\"", {}, True),
        ('mapping: "{{ body.x or false }}"', {"x": 0}, False),
        ('mapping: "{{ body.x | default(5) }}"', {"x": 0}, 0),
        ('mapping: "{{ body.x | default(5) }}"', {"x": None}, 5),
        ('mapping: "{{ 1 < body.x <= 3 }}"', {"x": 3}, True),
        ("mapping: \"{{ 'b' in body.x }}\"", {"x": {"b": 1}}, True),
        ('mapping: "{{ body.x[1:] }}"', {"x": [1, 2, 3]}, [2, 3]),
        ('mapping: "{{ [body.x, 2] }}"', {}, [2]),
        ("mapping: \"{{ {'a': body.x, 'b': 1} }}\"", {}, {"b": 1}),
        ('mapping: "{{ body.x + 1 }}"', {"x": None}, MISSING),
        ('mapping: ["{{ body.x }}"]', {"x": [[1], 2]}, [[1], 2]),
        ('mapping: {"{{ body.k }}": 1}', {"k": "z"}, {"z": 1}),
        ("mapping: {$if: body.x is number, $then: n, $else: {$if: body.x is map, $then: m}}", {"x": {}}, "m"),
        ('mapping: {$for: x in body, $where: x > 1, $if: x < 4, $then: "{{ x * 2 }}"}', [1, 2, 3, 4], [4, 6]),
        ('mapping: {$let: {a: {$for: x in body, $then: "{{ x }}"}}, n: "{{ a | length }}"}', [1, 2], {"n": 2}),
        (
            'mapping: {$let: {a: "{{ body }}"}, $for: x in a.xs, v: "{{ x ~ a.y }}"}',
            {"xs": ["p"], "y": 1},
            [{"v": "p1"}],
        ),
    ],
)
def test_values(text: str, given: Any, expected: Any) -> None:
    result = run(text, given)
    assert result is MISSING if expected is MISSING else result == expected
    assert type(result) is type(expected)


def test_inputs_are_never_written_to() -> None:
    given = {"m": {"a": 1}, "l": [1]}
    text = 'mapping: {x: {$merge: ["{{ body.m }}", {b: 2}]}, y: ["{{ body.l }}", 3], z: "{{ body.l }}"}'
    assert run(text, given) == {"x": {"a": 1, "b": 2}, "y": [1, 3], "z": [1]}
    assert given == {"m": {"a": 1}, "l": [1]}


def test_constants_are_fresh_at_every_call() -> None:
    transform = compile_text("mapping: {a: [], b: {c: 1}}")
    first = transform({}, new_context())
    first["a"].append(1)
    first["b"]["c"] = 2
    assert transform({}, new_context()) == {"a": [], "b": {"c": 1}}


def test_a_failure_names_the_mapping_line_and_the_data_path() -> None:
    text = """\
define:
  block(b):
    $match: b.type
    text: {t: "{{ b.text }}"}
mapping: {$for: m in body.messages, $then: {$for: b in m.content, $then: "{{ block(b) }}"}}
"""
    given = {"messages": [{"content": [{"type": "text"}]}, {"content": [{"type": "text"}, {"type": "video", "x": 1}]}]}
    with pytest.raises(MappingFailure) as failure:
        run(text, given)
    assert str(failure.value) == 'm.yaml:3 · messages[1].content[1]: unsupported `b.type` "video" (known: text)'


def test_a_wrong_type_is_a_failure_with_a_place() -> None:
    with pytest.raises(MappingFailure) as failure:
        run('mapping:\n  a: 1\n  b: "{{ body.x.y | join }}"', {"x": {"y": "text"}})
    assert str(failure.value) == "m.yaml:3: `join` needs a list, not text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('mapping: "{{ bdy.x }}"', "m.yaml:1: unknown name `bdy`: did you mean `body`? (in `{{ bdy.x }}`)"),
        (
            'mapping: "{{ body.x | lenght }}"',
            "m.yaml:1: unknown filter `lenght`: did you mean `length`? (in `{{ body.x | lenght }}`)",
        ),
        (
            'mapping: "{{ body is strnig }}"',
            "m.yaml:1: unknown test `strnig`: did you mean `string`? (in `{{ body is strnig }}`)",
        ),
        ('mapping: "{{ tables.a[body] }}"', "m.yaml:1: unknown table `a` (in `{{ tables.a[body] }}`)"),
        ('define:\n  f(a): 1\nmapping: "{{ f() }}"', "m.yaml:3: `f` takes 1 argument(s) (a), not 0 (in `{{ f() }}`)"),
        ("define:\n  f(a): 1\nmapping: {$call: g}", "m.yaml:3: unknown function `g`"),
        ("define:\n  f(a): 1\n  f(b): 2\nmapping: 1", "m.yaml:3: the function `f` is defined twice"),
        ("mapping: {$iff: body.x}", "m.yaml:1: unknown control word `$iff`: did you mean `$if`?"),
        ("mapping: {$else: 1}", "m.yaml:1: `$else` needs an `$if` or a `$match` before it"),
        ("mapping: {$for: body.x, a: 1}", "m.yaml:1: `$for` takes `name in list` or `key, value in map`"),
        ("mapping: {$drop: a, b: 1}", "m.yaml:1: `$drop` stands alone, not beside `b`"),
        (
            "mapping: {$match: body.x, 1: a, b: c}",
            "m.yaml:1: the label `b` is of another type than the others: it can never match",
        ),
        ('mapping: {a: "{% if x %}"}', "m.yaml:1: `{% … %}` is not part of the language; use the control words"),
        ("mapping: {a: {{ body.x }} }", 'm.yaml:1: an expression must be quoted: "{{ … }}"'),
        ("mapping: {a: 1, a: 2}", "m.yaml:1: the key `a` stands twice in one map"),
        (
            'mapping: "{{ body.x( ) }}"',
            "m.yaml:1: only functions can be called, with plain arguments (in `{{ body.x( ) }}`)",
        ),
        (
            r"""mapping: "{{ body.x | match('a\\.b') }}" """,
            "m.yaml:1: a backslash in a string is written twice (or as a class: `[.]` for a dot)"
            r" (in `{{ body.x | match('a\.b') }}`)",
        ),
        ('mapping: "{{ body.x | default }}"', "m.yaml:1: `default` takes one argument (in `{{ body.x | default }}`)"),
    ],
)
def test_load_errors_name_the_line_and_the_mend(text: str, message: str) -> None:
    with pytest.raises(MappingError) as error:
        compile_text(text)
    assert str(error.value) == message


def test_all_load_errors_come_at_once() -> None:
    with pytest.raises(MappingError) as error:
        compile_text('mapping:\n  a: "{{ x }}"\n  b: "{{ y }}"')
    assert [problem.line for problem in error.value.problems] == [2, 3]


def test_yaml_that_is_none() -> None:
    with pytest.raises(MappingError, match=r"^m\.yaml:2: not YAML: "):
        parse("a: [", "m.yaml")


@pytest.mark.parametrize("plain_text", ["no", "yes", "on", "2024-01-01", "0o", "1_000", "12:30"])
def test_text_stays_text(plain_text: str) -> None:
    assert plain(parse(f"a: {plain_text}", "m").root) == {"a": plain_text}
