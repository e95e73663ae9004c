"""The OpenAPI description of the admin service, from its operations."""

from __future__ import annotations

import inspect
from typing import Any, Final

from nexeon import __version__
from nexeon.admin.http import OPERATIONS, PREFIX, Operation
from nexeon.admin.values import KEEP

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_USD: Final[dict[str, Any]] = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?$", "examples": ["12.50"]}
_COUNT: Final[dict[str, Any]] = {"type": ["integer", "null"], "minimum": 0}
_TIME: Final[dict[str, Any]] = {"type": ["string", "null"], "format": "date-time"}
_FLAG: Final[dict[str, Any]] = {"type": "boolean"}
_NAMES: Final[dict[str, Any]] = {"type": "array", "items": _TEXT}
PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    **dict.fromkeys(("account", "key", "request", "name", "provider", "model", "label", "reason"), _TEXT),
    **dict.fromkeys(("subject", "actor", "method", "after", "search"), _TEXT),
    **dict.fromkeys(("usd", "overdraft"), _USD),
    **dict.fromkeys(("soft_limit", "budget"), _USD | {"type": ["string", "null"]}),
    **dict.fromkeys(("rpm", "tpm", "rpd", "tpd", "concurrency"), _COUNT),
    **dict.fromkeys(("expires", "since", "until"), _TIME),
    **dict.fromkeys(("models", "scopes"), _NAMES),
    **dict.fromkeys(("disabled", "enabled", "failed"), _FLAG),
    "by": {"type": "string", "examples": ["day,model"]},
    "events": {"type": ["array", "null"], "description": "The events of a provider's stream, in place of a request."},
    "format": _TEXT | {"description": "The wire format that the request is in."},
    "limit": {"type": "integer", "minimum": 1},
    **dict.fromkeys(("prompt", "system", "answer"), _TEXT),
    "stream": _FLAG,
    "max_tokens": {"type": ["integer", "null"], "minimum": 1},
    "points": {"type": "integer", "minimum": 1, "maximum": 600},
    "span": {"type": "integer", "minimum": 1, "maximum": 3600, "description": "seconds"},
    "overlap": {"type": "number", "minimum": 0, "description": "seconds"},
    "period": {"enum": ["day", "week", "month", None]},
    "configuration": {"type": "object"},
    "salt": _TEXT | {"description": "Any text."},
    "response": {"type": ["object", "null"], "description": "A provider's answer, in place of a request."},
    "secret": {"type": "string", "writeOnly": True},
    "status": {"type": "integer"},
    "to": _NAMES | {"description": "Providers and formats: only targets there, spoken to so."},
    "weight": {"type": "integer", "minimum": 1},
}
"""The schema of every parameter, by its name."""

_ELSEWHERE: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("explain", "request"): {"type": "object", "description": "A client's request, in that format."},
}
"""Those that are called as another operation's."""

_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": _TEXT, "message": _TEXT},
        }
    },
}
_PAGE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["items", "next"],
    "properties": {
        "items": {"type": "array", "items": {"type": "object"}},
        "next": {"type": ["string", "null"], "description": "The next page's `after`."},
    },
}


def describe() -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS.values():
        paths.setdefault(operation.path, {})[operation.verb.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "NeXeon admin", "version": __version__},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _ERROR, "Page": _PAGE},
            "responses": {"Error": _answer("Refused.", {"$ref": "#/components/schemas/Error"})},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    given = {name: each for name, each in operation.parameters.items() if name != operation.subject}
    # A listing, or a reading that has pages.
    paged = "after" in given or operation.method.endswith(".list")
    answer: dict[str, Any] = {"$ref": "#/components/schemas/Page"} if paged else {"type": "object"}
    if operation.method == "explain":
        answer = {"type": "array", "items": {"type": "object"}, "description": "One for each target."}
    described: dict[str, Any] = {
        "operationId": operation.method,
        "summary": " ".join(operation.words.split("\n\n")[0].split()) or operation.method,
        "tags": [operation.method.partition(".")[0]],
        "parameters": [],
        "responses": {"200": _answer("Done.", answer), "default": {"$ref": "#/components/responses/Error"}},
    }
    if operation.subject is not None:
        described["parameters"].append(_parameter(operation.subject, "path", required=True))
    if operation.verb == "GET":
        described["parameters"] += [_parameter(name, "query", required=_required(each)) for name, each in given.items()]
    elif given:
        schema: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: _schema(operation.method, name, each) for name, each in given.items()},
        }
        required = [name for name, each in given.items() if _required(each)]
        if required:
            schema["required"] = required
        described["requestBody"] = {"required": bool(required), "content": {"application/json": {"schema": schema}}}
    return described


def _parameter(name: str, place: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": PARAMETERS[name]}


def _schema(method: str, name: str, parameter: inspect.Parameter) -> dict[str, Any]:
    schema = _ELSEWHERE.get((method, name)) or PARAMETERS[name]
    default = parameter.default
    if default is inspect.Parameter.empty or default is KEEP or default is None or default == ():
        return schema
    return {**schema, "default": default}


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def _answer(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}
