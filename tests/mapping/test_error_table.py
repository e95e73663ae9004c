"""Every kind of error in every format: it fits the schema, and is read back as the same. What exactly is said of each
stands in the golden table of tests/gateway/test_errors.py."""

from __future__ import annotations

from typing import Any

import pytest

from nexeon.data import data_path
from nexeon.mapping import Library, StreamDecoder, StreamEncoder, load_library, new_context
from nexeon.mapping.schemas import Schemas, plain_json

KINDS = {
    "invalid_request": 400,
    "context_length": 400,
    "content_policy": 400,
    "authentication": 401,
    "billing": 402,
    "permission": 403,
    "model_not_found": 404,
    "not_found": 404,
    "timeout": 408,
    "conflict": 409,
    "too_large": 413,
    "unsupported_media": 415,
    "unprocessable": 422,
    "rate_limit": 429,
    "internal": 500,
    "upstream": 502,
    "unavailable": 503,
    "overloaded": 503,
    "upstream_timeout": 504,
}


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas(data_path("schemas"))


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library([data_path("mappings")])


def error(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": kind, "status": KINDS[kind], "message": "what went wrong"}
    if kind in ("invalid_request", "model_not_found"):
        found["param"] = "model"
    if kind == "model_not_found":
        found["code"] = "model_not_found"
    return found


def table(library: Library) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name, form in sorted(library.formats.items()):
        for kind, status in KINDS.items():
            ctx = new_context(format=name, token="token", now=0, status=status)
            rows.setdefault(f"{status} {kind}", {})[name] = plain_json(form.encode_error(error(kind), ctx))
    return rows


def test_every_kind_of_the_canonical_form_is_in_it(schemas: Schemas) -> None:
    known = schemas.document("canonical.schema.json")["$defs"]["error"]["properties"]["kind"]["enum"]
    assert set(KINDS) == set(known)


def test_every_row_fits_its_format_and_says_the_message(library: Library, schemas: Schemas) -> None:
    for row in table(library).values():
        for name, body in row.items():
            validator = schemas.format(name, "error")
            assert validator is not None
            assert validator.explain(body) is None
            assert body["error"]["message"] == "what went wrong"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_read_back_is_of_the_same_kind(kind: str, library: Library) -> None:
    """What one gateway says, another understands (as far as the format has a word for it)."""
    for name, form in library.formats.items():
        ctx = new_context(format=name, token="token", now=0, status=KINDS[kind])
        again = form.decode_error(plain_json(form.encode_error(error(kind), ctx)), ctx)
        assert again["message"] == "what went wrong", name
        other = form.encode_error({**again, "status": KINDS[kind]}, ctx)
        assert plain_json(other) == plain_json(form.encode_error(error(kind), ctx)), name


def test_a_stream_says_it_too(library: Library, schemas: Schemas) -> None:
    for name, form in library.formats.items():
        ctx = new_context(format=name, token="token", now=0, model="m", body={}, stream=True)
        pieces = [
            {"type": "start", "response": {"blocks": []}},
            {"type": "error", "error": error("overloaded"), "response": {"blocks": []}},
        ]
        events = [plain_json(event) for event in StreamEncoder(form, ctx).encode(pieces)]
        validator = schemas.format(name, "event")
        assert validator is not None
        assert [validator.explain(event) for event in events] == [None] * len(events)
        read = StreamDecoder(form, new_context(format=name, provider="p"))
        for event in events:
            read.feed(event)
        assert read.failed is not None, name
        assert read.failed["message"] == "what went wrong"
