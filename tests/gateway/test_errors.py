"""The error table: what each client format says of each kind of error, as a golden file.

`UPDATE_GOLDEN=1` writes it anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from nexeon.data import data_path
from nexeon.errors import RequestError
from nexeon.gateway.errors import canonical_error, error_body, error_headers
from nexeon.mapping import Library, StreamEncoder, load_library, new_context

GOLDEN: Final = Path(__file__).parent / "golden" / "errors.json"

ERRORS: Final = [
    RequestError(400, "invalid_request", "`messages` is required", param="messages"),
    RequestError(400, "context_length", "too long", param="messages", code="context_length_exceeded"),
    RequestError(400, "content_policy", "not allowed"),
    RequestError(401, "authentication", "no API key was given", code="missing_api_key"),
    RequestError(402, "billing", "insufficient credits", code="insufficient_credits"),
    RequestError(403, "permission", "this API key may not use model 'm'", param="model", code="model_not_permitted"),
    RequestError(404, "model_not_found", "Model 'm' is not available", param="model", code="model_not_found"),
    RequestError(404, "not_found", "there is nothing at /x", code="not_found"),
    RequestError(405, "invalid_request", "GET is not allowed here: use POST", code="method_not_allowed"),
    RequestError(408, "timeout", "the request took too long"),
    RequestError(409, "conflict", "the same request is still running"),
    RequestError(413, "too_large", "the body is larger than 10 bytes"),
    RequestError(415, "unsupported_media", "the body must be application/json"),
    RequestError(422, "unprocessable", "cannot be processed"),
    RequestError(429, "rate_limit", "slow down", code="rate_limit_exceeded", retry_after=7),
    RequestError(500, "internal", "the gateway failed at this request", code="internal_error"),
    RequestError(502, "upstream", "provider `p` failed", code="upstream_error"),
    RequestError(502, "overloaded", "provider `p` failed", code="upstream_error"),
    RequestError(503, "overloaded", "provider `p` is overloaded"),
    RequestError(503, "unavailable", "no active key for provider `p`", code="no_active_provider_key"),
    RequestError(504, "upstream_timeout", "provider `p` did not answer within 1 s", code="upstream_timeout"),
]


def table() -> dict[str, Any]:
    """`STATUS kind` → its headers, and by format the body and the events that end a stream."""
    library = load_library([data_path("mappings")])
    return {
        f"{error.status} {error.kind}": {
            "headers": error_headers(error),
            **{name: told(library, name, error) for name in sorted(library.formats)},
        }
        for error in ERRORS
    }


def told(library: Library, name: str, error: RequestError) -> dict[str, Any]:
    format = library.format(name)
    encoder = StreamEncoder(format, new_context(format=name, model="m", token="t", now=0, stream=True, body={}))
    piece = {"type": "error", "error": canonical_error(error, "req_1"), "response": {"blocks": []}}
    events = [shown(event) for event in encoder.encode([piece])]
    return {"body": json.loads(error_body(format, error, "req_1")), "events": events}


def shown(event: dict[str, Any]) -> dict[str, Any]:
    """Without the whole answer so far, of which only what tells the error belongs here."""
    if "response" not in event:
        return event
    return {**event, "response": {name: event["response"][name] for name in ("status", "error")}}


def test_the_table_is_the_golden_one() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(table(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert table() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_kind_of_the_canonical_form_is_in_it() -> None:
    schema = json.loads((data_path("schemas") / "canonical.schema.json").read_text(encoding="utf-8"))
    assert {error.kind for error in ERRORS} == set(schema["$defs"]["error"]["properties"]["kind"]["enum"])


def test_each_body_is_what_its_format_calls_an_error() -> None:
    import jsonschema

    for row in table().values():
        for name, said in row.items():
            if name != "headers":
                file = data_path("schemas") / "formats" / name / "error.json"
                jsonschema.validate(said["body"], json.loads(file.read_text(encoding="utf-8")))
