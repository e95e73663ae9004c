"""Every case beside the mappings, and the case runner's own judgement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nexeon.data import data_path
from nexeon.errors import Problem
from nexeon.mapping import Library, load_library
from nexeon.mapping.cases import Case, read_cases, run_case
from nexeon.mapping.schemas import Schemas
from nexeon.mapping.stream import CUT_SHORT

CUT = {"kind": "upstream", "message": CUT_SHORT}
FOLDER = data_path("mappings") / "tests"
CASES = list(read_cases(FOLDER))


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas(data_path("schemas"))


@pytest.fixture(scope="module")
def library(schemas: Schemas) -> Library:
    return load_library([data_path("mappings")], schemas.document("mapping.schema.json"))


def label(case: Case | Problem) -> str:
    return f"{case.file}:{case.line}"


@pytest.mark.parametrize("case", CASES, ids=label)
def test_case(case: Case | Problem, library: Library, schemas: Schemas) -> None:
    assert isinstance(case, Case), str(case)
    found = run_case(case, library, schemas)
    assert found is None, str(found)


def test_every_format_has_cases_in_every_direction(library: Library) -> None:
    sections = [f"{part}.{way}" for part in ("request", "response", "stream", "error") for way in ("decode", "encode")]
    there = {(case.data["format"], case.data["do"]) for case in CASES if isinstance(case, Case)}
    assert [(name, part) for name in library.formats for part in sections if (name, part) not in there] == []


def given_case(**data: Any) -> Case:
    form = data.pop("format")
    return Case("c.yaml", 1, {"case": "one", "format": form, **data})


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("mappings")
    (folder / "formats").mkdir()
    (folder / "formats/toy.yaml").write_text(
        """
format: toy
wire: {request: {path: /toy}}
request:
  decode: {model: "{{ body.model }}", turns: [], bad?: "{{ body.bad }}"}
  encode: {$if: request.model == 'x', $fail: no x, $else: {m: "{{ request.model }}", n: 1, l: [1, 2]}}
response: {decode: {blocks: []}, encode: {}}
stream: {decode: "{{ event }}", encode: {t: "{{ piece.type }}"}}
error: {decode: {kind: upstream, message: m}, encode: {}}
policy: {sampling.seed: drop, sampling.n: {reject: one answer only}}
"""
    )
    return load_library([folder])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"do": "request.encode", "given": {"model": "m"}, "expect": {"m": "m", "n": 1, "l": [1, 2]}}, None),
        (
            {"do": "request.encode", "given": {"model": "m"}, "expect": {"m": "m", "n": True, "l": [1, 2]}},
            "n is 1, expected true",
        ),
        (
            {"do": "request.encode", "given": {"model": "m"}, "expect": {"m": "m", "l": [1, 2]}},
            "n should not be there: 1",
        ),
        (
            {"do": "request.encode", "given": {"model": "m"}, "expect": {"m": "m", "n": 1, "l": [1]}},
            "l has 2 items, expected 1; the first too many: 2",
        ),
        ({"do": "request.encode", "given": {"model": "x"}, "fails": "no x"}, None),
        ({"do": "request.encode", "given": {"model": "x"}, "expect": {}}, "failed: no x"),
        (
            {"do": "request.encode", "given": {"model": "m"}, "fails": "no x"},
            'should fail with `no x`, gave {"m":"m","n":1,"l":[1,2]}',
        ),
        (
            {
                "do": "request.encode",
                "given": {"model": "m", "sampling": {"n": 2}},
                "fails": "sampling.n: one answer only",
            },
            None,
        ),
        (
            {
                "do": "request.encode",
                "given": {"model": "m", "sampling": {"seed": 2}},
                "expect": {"m": "m", "n": 1, "l": [1, 2]},
                "dropped": [],
            },
            'dropped ["sampling.seed"], expected []',
        ),
        (
            {"do": "request.decode", "given": {"model": 1}, "expect": {"model": 1, "turns": []}},
            "the output does not fit canonical#request: model: Invalid type: expected string, got integer",
        ),
        (
            {"do": "request.encode", "given": {"model": "m", "turns": 5}, "expect": {}},
            "`given` is nothing that a mapping is given: TypeError: 'int' object is not iterable",
        ),
        (
            {
                "do": "stream.decode",
                "given": [{"type": "ping"}],
                "expect": [{"type": "ping"}, {"type": "error", "error": CUT, "response": {"blocks": []}}],
            },
            None,
        ),
        (
            {
                "do": "stream.encode",
                "given": [{"type": "finish", "reason": "stop"}],
                "expect": [{"t": "start"}, {"t": "finish"}],
            },
            None,
        ),
    ],
)
def test_the_runner_judges(data: dict[str, Any], message: str | None, own: Library, schemas: Schemas) -> None:
    found = run_case(given_case(format="toy", **data), own, schemas)
    assert (found.message if found else None) == message


def test_bad_case_files_are_problems(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("case: x\n")
    (tmp_path / "b.yaml").write_text(
        "- {case: x}\n"
        "- {case: x, format: f, do: request.decode, given: 1, expct: 2}\n"
        "- {case: x, format: f, do: request.decode, given: 1}\n"
        "- {case: one, format: f, do: request.decod, given: {}, expect: 1}\n"
        "- {case: one, format: f, dialect: d, do: request.decode, given: {}, expect: 1}\n"
        "- {case: one, format: f, do: stream.decode, given: {}, expect: 1}\n"
        "- {case: one, format: f, do: response.decode, given: 1, expect: 1}\n"
        "- {case: one, format: f, do: error.decode, ctx: 1, given: text, expect: 1}\n"
        "- {case: one, format: f, do: error.decode, given: text, expect: 1}\n"
    )
    assert [str(found) for found in read_cases(tmp_path) if isinstance(found, Problem)] == [
        "tests/a.yaml:1: a case file is a list of cases",
        "tests/b.yaml:1: a case needs `case`, `format`, `do` and `given`",
        "tests/b.yaml:2: unknown key `expct`",
        "tests/b.yaml:3: a case has either `expect` or `fails`",
        "tests/b.yaml:4 · one: unknown `do: request.decod` without a dialect: did you mean `request.decode`?",
        "tests/b.yaml:5 · one: unknown `do: request.decode` with a dialect: did you mean `request`?",
        "tests/b.yaml:6 · one: `given` must be a list of events",
        "tests/b.yaml:7 · one: `given` must be a map",
        "tests/b.yaml:8 · one: `ctx` must be a map",
    ]
