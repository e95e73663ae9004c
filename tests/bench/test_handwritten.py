"""The yardstick says what the mappings say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import pytest

from nexeon.data import data_path
from nexeon.errors import MappingFailure
from nexeon.mapping import Library, load_library, new_context
from nexeon.mapping.cases import Case, read_cases
from nexeon.mapping.schemas import plain_json
from tests.bench import handwritten
from tests.bench.engine import agree

WRITTEN: Final[dict[tuple[str, str], Callable[[Any, Any], Any]]] = {
    ("openai.chat", "request.decode"): handwritten.decode_chat,
    ("openai.chat", "request.encode"): handwritten.encode_chat,
    ("anthropic.messages", "request.encode"): handwritten.encode_messages,
}
LEFT_OUT: Final = ("MCP servers", "a closed schema", "what a provider ran itself")


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library([data_path("mappings")])


CASES: Final = [
    case
    for case in read_cases(data_path("mappings") / "tests")
    if isinstance(case, Case)
    and "dialect" not in case.data
    and (case.data["format"], case.data["do"]) in WRITTEN
    and "extra" not in case.data.get("given", {})
]


def outcome(run: Callable[[Any, Any], Any], given: Any, ctx: Any) -> Any:
    """What comes out, or where it failed, or what is left out."""
    try:
        return plain_json(run(given, ctx))
    except NotImplementedError as error:
        return str(error)
    except handwritten.Refused as error:
        return "refused", error.place
    except MappingFailure as error:
        return "refused", error.path


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}:{case.line}")
def test_a_case_beside_the_mappings(case: Case, library: Library) -> None:
    name, section = case.data["format"], case.data["do"]
    facts = {"format": name, "token": "t", "now": 1, "model": "m", "upstream_model": "m", **case.data.get("ctx", {})}
    given, before = copy.deepcopy(case.data["given"]), copy.deepcopy(case.data["given"])
    ctx, other = new_context(**facts), new_context(**facts)
    mapped = library.format(name).transforms["request", section.partition(".")[2]]
    found, expected = outcome(WRITTEN[name, section], given, ctx), outcome(mapped, case.data["given"], other)
    if found in LEFT_OUT:
        return
    assert found == expected
    assert given == before
    assert (len(ctx["dropped"]), ctx["ids"]) == (len(other["dropped"]), other["ids"])


REQUESTS: Final = [
    (case, case.data["expect" if case.data["do"] == "request.decode" else "given"])
    for case in read_cases(data_path("mappings") / "tests")
    if isinstance(case, Case)
    and "dialect" not in case.data
    and case.data["do"] in ("request.decode", "request.encode")
    and ("expect" in case.data or case.data["do"] == "request.encode")
]


@pytest.mark.parametrize("name", ["openai.chat", "anthropic.messages"])
@pytest.mark.parametrize("given", [given for _, given in REQUESTS], ids=[f"{c.file}:{c.line}" for c, _ in REQUESTS])
def test_what_other_formats_ask(name: str, given: Any, library: Library) -> None:
    facts = {"format": name, "token": "t", "now": 1, "model": "m", "upstream_model": "m"}
    ctx, other = new_context(**facts), new_context(**facts)
    found = outcome(WRITTEN[name, "request.encode"], copy.deepcopy(given), ctx)
    expected = outcome(library.format(name).transforms["request", "encode"], given, other)
    if found in LEFT_OUT:
        return
    assert found == expected
    assert len(ctx["dropped"]) == len(other["dropped"])


def test_the_request_of_the_bench(library: Library) -> None:
    agree(library)


def test_little_is_left_out() -> None:
    left = 0
    for case in CASES:
        ctx = new_context(**{"format": case.data["format"], "token": "t", "now": 1, **case.data.get("ctx", {})})
        run = WRITTEN[case.data["format"], case.data["do"]]
        left += outcome(run, case.data["given"], ctx) in LEFT_OUT
    assert left < len(CASES) / 8
