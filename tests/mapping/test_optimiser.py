"""Functions made faster give what the plain ones give, and fail as they do."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from nexeon.data import data_path
from nexeon.errors import MappingFailure
from nexeon.mapping import load_library
from nexeon.mapping.cases import Case, read_cases, run_case
from nexeon.mapping.context import new_context
from nexeon.mapping.module import Module
from nexeon.mapping.runtime import Transform, plain_function
from nexeon.mapping.schemas import Schemas
from nexeon.mapping.source import Map, parse
from nexeon.mapping.sure import BLOCKS, TURN
from nexeon.wire.json import dumps


def compare(transform: Transform, value: Any, ctx: dict[str, Any]) -> None:
    """Calls both functions; what differs in anything but time raises."""
    plain = plain_function(transform.function)
    assert plain is not None
    expected = outcome(plain, *copy.deepcopy((value, ctx)))
    given = copy.deepcopy((value, ctx))
    found = outcome(transform.function, *given)
    assert found == expected
    assert list(map(str, found)) == list(map(str, expected))  # the order of keys, too
    assert shown(given[0]) == shown(value)  # and what is given stays as it was


def outcome(function: Callable[..., Any], value: Any, ctx: dict[str, Any]) -> tuple[Any, ...]:
    try:
        result = function(value, ctx)
    except Exception:
        return ("fails",)  # how, the plain function tells
    return shown(result), shown(ctx["lost"]), ctx["ids"]


def shown(value: Any) -> Any:
    """With JSON text that is embedded as that text, since such parts are equal to none."""
    if type(value) is dict:
        return {key: shown(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [shown(item) for item in value]
    return dumps(value) if type(value).__name__ == "Fragment" else value


def test_every_case_gives_the_same_with_functions_made_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    schemas = Schemas(data_path("schemas"))
    library = load_library([data_path("mappings")])
    calls = 0
    usual = Transform.__call__

    def call(self: Transform, value: Any, ctx: dict[str, Any]) -> Any:
        nonlocal calls
        calls += 1
        compare(self, value, ctx)
        return usual(self, value, ctx)

    monkeypatch.setattr(Transform, "__call__", call)
    for case in read_cases(data_path("mappings") / "tests"):
        assert isinstance(case, Case)
        assert run_case(case, library, schemas) is None
    assert calls > 500


JUNK: tuple[Any, ...] = (
    *(None, True, 0, 1.5, "", "x", "tool", {}, {"type": "text", "text": "q"}),
    *([], [{}], ["x"], [[]], [{"type": "text", "text": "a"}], [{"role": "user"}]),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """(map or list, key or position) of everything in a value."""
    keys = list(value) if type(value) is dict else range(len(value)) if type(value) is list else ()
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def spoilt(value: Any, random: Random) -> Any:
    """The value with something else, or nothing, in one or two places."""
    value = copy.deepcopy(value)
    for _ in range(random.randint(1, 2)):
        found = places(value)
        if found:
            inside, key = random.choice(found)
            if random.random() < 0.3:
                del inside[key]
            else:
                inside[key] = copy.deepcopy(random.choice(JUNK))
    return value


def test_what_nobody_should_send_is_taken_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the faster functions take for granted and do not find makes the plain ones answer."""
    schemas, library, random = Schemas(data_path("schemas")), load_library([data_path("mappings")]), Random(1)
    usual = Transform.__call__
    calls: list[tuple[Transform, Any, Any]] = []

    def call(self: Transform, value: Any, ctx: dict[str, Any]) -> Any:
        calls.append((self, spoilt(value, random), copy.deepcopy(ctx)))
        return usual(self, value, ctx)

    def told(transform: Transform, value: Any, ctx: dict[str, Any]) -> Any:
        try:
            result = transform(value, ctx)
        except MappingFailure as error:
            return error.path, error.line
        return shown([result, ctx["dropped"], ctx["doubts"], ctx["ids"]])

    with monkeypatch.context() as patched:
        patched.setattr(Transform, "__call__", call)
        for case in read_cases(data_path("mappings") / "tests"):
            assert isinstance(case, Case)
            run_case(case, library, schemas)
    for transform, value, ctx in calls:
        plain = plain_function(transform.function)
        assert plain is not None
        expected = told(Transform(plain, transform.file, transform.root), *copy.deepcopy((value, ctx)))
        assert told(transform, value, ctx) == expected


def compiled(text: str) -> Transform:
    source = parse(text, "toy.yaml")
    assert isinstance(source.root, Map)
    module = Module(source)
    body = source.root.get("mapping")
    assert body is not None
    made = module.add(body, "body", "mapping")
    module.finish()
    return made()


NESTED = """
define:
  part(p):
    $match: p.type
    text: {t: "{{ p.text }}"}
    lost: {$drop: nobody needs it}
  turn(m): {parts: [{$for: p in m.parts, $call: part, p: "{{ p }}"}]}
mapping: {turns: [{$for: m in body.turns, $call: turn, m: "{{ m }}"}]}
"""


def test_a_failure_in_what_was_put_in_place_of_a_call_has_its_own_place() -> None:
    ctx = new_context()
    turns = [{"parts": [{"type": "text", "text": "a"}]}, {"parts": [{"type": "lost"}, {"type": "video"}]}]
    with pytest.raises(MappingFailure) as caught:
        compiled(NESTED)({"turns": turns}, ctx)
    assert str(caught.value) == 'toy.yaml:4 · turns[1].parts[1]: unsupported `p.type` "video" (known: text, lost)'
    assert [reason for reason, _ in ctx["lost"]] == ["nobody needs it"]


def test_what_is_lost_is_told_with_its_place() -> None:
    ctx = new_context()
    assert compiled(NESTED)({"turns": [{"parts": [{"type": "lost"}]}]}, ctx) == {"turns": [{"parts": []}]}
    assert ctx["dropped"] == ["turns[0].parts[0]: nobody needs it"]


TURNS = """
  - $for: t in body.l
    role: "{{ t.role }}"
    n: "{{ t.blocks | length }}"
    first: "{{ t.blocks[0].type }}"
    texts: "{{ t.blocks | where('type', 'a') }}"
"""
OTHERS = """
  $let:
    o: "{{ body.l | reject('t', 'x') }}"
    a: "{{ o | where('t', 'y') | last if o }}"
    b: [{$for: i in o, $then: "{{ i.n }}"}]
    c: "{{ o | where('t', 'y', 'z') if o else [] }}"
    d: "{{ c | pluck('n') if c else '-' }}"
  a: "{{ a.n }}"
  b: "{{ b }}"
  c: "{{ c | length }}"
  d: "{{ d }}"
"""
RUNS = """[{$for: "r in body.l | chunk('t', 'x')", $if: "r[0].t == 'x'", n: "{{ r | length }}", $else: '"""


@pytest.mark.parametrize(
    ("mapping", "given", "expected"),
    [
        # a merged map is not the one that it was merged from
        ('{$merge: ["{{ body.a }}", {x: 1}]}', {"a": {"y": 2}}, {"y": 2, "x": 1}),
        ('{$merge: [{x: 1, y: 0}, "{{ body.a }}", {y: 3}]}', {"a": {"y": 2, "z": 4}}, {"x": 1, "y": 3, "z": 4}),
        ('{a?: {b?: {c: "{{ body.c }}"}}}', {"c": None}, {"a": {"b": {"c": None}}}),
        ('{a?: {b?: {c?: "{{ body.c }}"}}}', {"c": []}, {}),
        ('{a?: "{{ body.c }}"}', {"c": 0}, {"a": 0}),
        ('{a: "{{ body.b.c if body.b.c is string else body.d }}"}', {"b": {"c": 1}, "d": "x"}, {"a": "x"}),
        ('{a: "{{ body.l[0].x }}", b: "{{ body.l[0].y }}"}', {"l": [{"x": 1}]}, {"a": 1}),
        ("{$if: body.a is not empty, v: 1, $else: {v: 2}}", {"a": 0}, {"v": 1}),
        ("{$if: body.a is empty, v: 1, $else: {v: 2}}", {}, {"v": 1}),
        ("[{$for: x in body.l, v: \"{{ x.v | default('-') }}\"}]", {"l": [{"v": None}, 3]}, [{"v": "-"}, {"v": "-"}]),
        ("{rest?: \"{{ body | omit('a', 'b') }}\"}", {"a": 1, "c": 2}, {"rest": {"c": 2}}),
        ("{rest?: \"{{ body | omit('a', 'b') }}\"}", {"a": 1}, {}),
        ("{n: \"{{ body.l | where('t') | length }}\"}", {"l": ["at", {"t": None}]}, {"n": 1}),
        ("{n: \"{{ body.l | where('t', 'x') | length }}\"}", {"l": ["t", {"t": "x"}]}, {"n": 1}),
        ('[{$for: x in body.l, t: "{{ x.t }}"}]', {"l": ["t", {"t": "x"}]}, [{}, {"t": "x"}]),
        (
            RUNS + "{{ r[0] }}'}]",
            {"l": [{"t": "x"}, {"t": "x"}, {"t": "y"}, {"t": "x"}]},
            [{"n": 2}, {"t": "y"}, {"n": 1}],
        ),
        (
            RUNS + "{{ r[0].t }}'}]",
            {"l": [["t"], {"t": "x"}, 3]},
            [{"n": 1}],
        ),
        ("{n: \"{{ body.l | where('t', 'x') | length == 1 }}\"}", {"l": [{"t": "x"}, {"t": True}]}, {"n": True}),
        # text filters read their text for sure, and the plain function is asked where there is none
        ("{$if: \"body.t | trim != ''\", a: '{{ body.t }}'}", {"t": " x "}, {"a": " x "}),
        ("{$if: \"body.t | trim != ''\", a: '{{ body.t }}'}", {}, {}),
        ("{$if: \"body.t | trim != ''\", a: '{{ body.t }}', $else: {b: 1}}", {"t": " "}, {"b": 1}),
        ("{a: '{{ body.t | trim }}', b: '{{ body.u | trim }}'}", {"t": None, "u": " u"}, {"b": "u"}),
        ("{a: '{{ body.t | fit_id(4) }}', b: '{{ body.u | fit_id }}'}", {"t": "abcd"}, {"a": "abcd"}),
        # what is compared, cut or chosen from may be missing, null or of another kind
        ("{$if: body.n > 1, v: 1, $else: {v: 2}}", {}, {"v": 2}),
        ("{$if: body.n > 1, v: 1, $else: {v: 2}}", {"n": None}, {"v": 2}),
        ("{$if: body.n > 1, v: 1, $else: {v: 2}}", {"n": 1.5}, {"v": 1}),
        ("{n: '{{ [body.a, body.b] | min }}', m: '{{ [body.a, body.b] | max }}'}", {"a": 3}, {"n": 3, "m": 3}),
        ("{n: '{{ [body.a, body.b] | min }}', m: '{{ [body.a, body.b] | max }}'}", {"b": 3}, {"n": 3, "m": 3}),
        ("{n: '{{ [body.a, body.b] | min }}', m: '{{ [body.a, body.b] | max }}'}", {"a": 3, "b": 2}, {"n": 2, "m": 3}),
        ("{n: '{{ [body.a, body.b] | min }}'}", {"a": 3, "b": 2.5}, {"n": 2.5}),
        ("{n: '{{ [body.a, body.b] | min }}'}", {"a": None}, {}),
        ("{l: '{{ body.l[:-1] }}'}", {"l": [1, 2]}, {"l": [1]}),
        ("{l: '{{ body.l[:-1] }}'}", {"l": "ab"}, {"l": "a"}),
        ("{l: '{{ body.l[1:] }}', m: '{{ body.l[:5] }}'}", {"l": None}, {}),
        ("{l?: [{$for: x in body.l, $then: '{{ x.v }}'}], d: 1}", {"l": [{"v": 1}, {}]}, {"l": [1], "d": 1}),
        ("{l?: [{$for: x in body.l, $then: '{{ x.v }}'}], d: 1}", {"l": [{}]}, {"d": 1}),
        ("{l?: [{$for: x in body.l, $then: '{{ x.v }}'}], d: 1}", {}, {"d": 1}),
        # what is read for the second question only, and words that are compared one by one
        ("{$if: \"body.a == 'x' and body.l | length > 1\", $then: yes, $else: no}", {"a": "x", "l": [1, 2]}, "yes"),
        ("{$if: \"body.a == 'x' and body.l | length > 1\", $then: yes, $else: no}", {"a": "y", "l": [1, 2]}, "no"),
        ("{$if: \"body.a == 'x' and body.l | length > 1\", $then: yes, $else: no}", {"a": "x"}, "no"),
        ("{$if: \"body.a in ['x', 'y']\", v: 1, $else: {v: 2}}", {"a": "y"}, {"v": 1}),
        ("{$if: \"body.a in ['x', 'y']\", v: 1, $else: {v: 2}}", {"a": ["x"]}, {"v": 2}),
        ("{$if: \"body.a not in ['x', 'y']\", v: 1, $else: {v: 2}}", {}, {"v": 1}),
        # a turn's fields are there for sure, and the plain function is asked where they are not
        (
            TURNS,
            {"l": [{"role": "r", "blocks": [{"type": "a"}, {"type": "b"}]}, {"role": "s", "blocks": []}]},
            [{"role": "r", "n": 2, "first": "a", "texts": [{"type": "a"}]}, {"role": "s", "n": 0, "texts": []}],
        ),
        (TURNS, {"l": [{"blocks": [{}]}, {"role": None}, 3]}, [{"n": 1, "texts": []}, {"role": None}, {}]),
        (
            "[{$for: t in body.l, role: '{{ t.role }}', l: [{$for: b in t.blocks, $then: '{{ b.x }}'}]}]",
            {"l": [{"role": "r", "blocks": [{"x": 1}, 2, {"x": 3}]}, {"role": "s"}]},
            [{"role": "r", "l": [1, 3]}, {"role": "s", "l": []}],
        ),
        # what depends on a list is asked for it once
        (OTHERS, {"l": [{"t": "x", "n": 1}]}, {"b": [], "c": 0, "d": "-"}),
        (OTHERS, {"l": []}, {"b": [], "c": 0, "d": "-"}),
        (OTHERS, {}, {"b": [], "c": 0, "d": "-"}),
        (
            OTHERS,
            {"l": [{"t": "y", "n": 1}, {"t": "x", "n": 2}, {"t": "z", "n": 3}, {}]},
            {"a": 1, "b": [1, 3], "c": 2, "d": [1, 3]},
        ),
        (OTHERS, {"l": [{"t": "z", "n": 1}]}, {"b": [1], "c": 1, "d": [1]}),
        # a field of what may not be there, and what is made of it
        ("{$if: body.a.b.c is string, v: 1, $else: {v: 2}}", {"a": {"b": {"c": "x"}}}, {"v": 1}),
        ("{$if: body.a.b.c is string, v: 1, $else: {v: 2}}", {"a": {"b": "c"}}, {"v": 2}),
        ("{$if: body.a.b.c is string, v: 1, $else: {v: 2}}", {"a": 1}, {"v": 2}),
        ("{s: \"{{ body.a.b | seal('k') }}\"}", {"a": {"b": "x"}}, {"s": {"format": "", "kind": "k", "data": "x"}}),
        ("{s: \"{{ body.a.b | seal('k') }}\"}", {"a": {"b": ""}}, {}),
        ("{s: \"{{ body.a.b | seal('k') }}\"}", {"a": "b"}, {}),
        (
            "{$let: {x: '{{ body.a }}', y: '{{ x.b }}'}, $if: body.c, v: '{{ y }}', $else: {v: 2}}",
            {"c": 1, "a": {"b": 3}},
            {"v": 3},
        ),
        (
            "{$let: {x: '{{ body.a }}', y: '{{ x.b }}'}, $if: body.c, v: '{{ y }}', $else: {v: 2}}",
            {"a": {"b": 3}},
            {"v": 2},
        ),
        # words that look like what the code's own constants are called
        (
            "{a: dict, b: MISSING, c: '', d: [EMPTY, 0], e: '{{ body.x }}'}",
            {},
            {"a": "dict", "b": "MISSING", "c": "", "d": ["EMPTY", 0]},
        ),
        ("{$if: \"body.l | where('t', 'x')\", v: 1, $else: {v: 2}}", {"l": None}, {"v": 2}),
        ("{$if: \"body.l | where('t', 'x')\", v: 1, $else: {v: 2}}", {"l": [{"t": "y"}, {"t": "x"}]}, {"v": 1}),
    ],
)
def test_the_language_is_the_same(mapping: str, given: Any, expected: Any) -> None:
    transform = compiled(f"mapping: {mapping}\n")
    before = copy.deepcopy(given)
    assert transform(given, new_context()) == expected
    assert given == before
    plain = plain_function(transform.function)
    assert plain is not None
    assert plain(given, new_context()) == expected


def test_the_languages_own_values_are_constants_of_the_code() -> None:
    function = compiled("mapping: {a: '{{ body.a }}', b: '{{ 1 if body.b is list }}'}\n").function
    assert {"MISSING", "list"}.isdisjoint(function.__code__.co_names)
    assert any(one is list for one in function.__code__.co_consts)
    assert not any(type(one) in (bytes, complex) for one in function.__code__.co_consts)


def test_a_turn_has_what_it_is_taken_to_have() -> None:
    found = []
    stack: list[Any] = [json.loads((data_path("schemas") / "canonical.schema.json").read_text())]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            properties = one.get("properties")
            if isinstance(properties, dict) and set(properties) >= TURN:
                found.append(set(one["required"]) >= TURN and properties[BLOCKS]["type"] == "array")
            stack += one.values()
        elif isinstance(one, list):
            stack += one
    assert found
    assert all(found)
