"""The admin service over HTTP, below /admin/v1: which request is which operation, and what it is answered.

`list` is GET /accounts, `create` POST /accounts, `show`, `update` and `delete` are GET, PATCH and DELETE of
/accounts/ID, any other verb is POST (GET where it only reads) of /accounts/ID/VERB. Answers are JSON; pages are
`{"items", "next"}`, where `next` is the next page's `after`; errors `{"error": {"type", "message"}}`. The header
`x-nexeon-actor` names who asks, for the audit log.
"""

from __future__ import annotations

import hmac
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

import orjson

from nexeon.admin.service import ALONE, GROUPS, READS, SUBJECTS, AdminService, operations
from nexeon.errors import (
    AdminError,
    Conflict,
    InsufficientCredit,
    NexeonError,
    NotFound,
    StoreCorrupt,
    StoreUnavailable,
)

PREFIX: Final = "/admin/v1"
DESCRIPTION: Final = f"{PREFIX}/openapi.json"
_STATUSES: Final[tuple[tuple[type[NexeonError], int], ...]] = (
    (NotFound, 404),
    (InsufficientCredit, 409),
    (Conflict, 409),
    (StoreUnavailable, 503),
    (StoreCorrupt, 500),
    (AdminError, 400),
)
_VERBS: Final = {"list": "GET", "show": "GET", "update": "PATCH", "delete": "DELETE"} | dict.fromkeys(
    ("create", "add", "explain", "diff", "compose", "read"), "POST"
)
_NUMBERS: Final = frozenset({"limit", "status", "span", "points"})
_FLAGS: Final = frozenset({"failed"})
_TRUTH: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Operation:
    """`subject` is the parameter that stands in the path, if one does."""

    method: str
    verb: str
    path: str
    subject: str | None
    parameters: Mapping[str, inspect.Parameter]
    words: str

    def url(self, params: Mapping[str, Any]) -> str:
        """The path of a call with those parameters."""
        if self.subject is None:
            return PREFIX + self.path
        return PREFIX + self.path.replace(f"{{{self.subject}}}", quote(str(params.get(self.subject)), safe=""))


def _operations() -> dict[str, Operation]:
    found = [_operation(name, name, None, getattr(AdminService, name)) for name in ALONE]
    for group, kind in GROUPS.items():
        found += [_operation(f"{group}.{name}", name, group, getattr(kind, name)) for name in operations(kind)]
    return {operation.method: operation for operation in found}


def _operation(method: str, name: str, group: str | None, function: Any) -> Operation:
    parameters = {each: value for each, value in inspect.signature(function).parameters.items() if each != "self"}
    subject = SUBJECTS.get(group or "")
    path = f"/{group or name}".replace("_", "-")
    # What is added to an account's credit is posted to the account, not to all credit.
    inside = name not in ("list", "create") and not (name == "add" and group != "credits")
    if group is not None and inside and subject in parameters:
        path += f"/{{{subject}}}"
        path += "" if name in _VERBS and group != "credits" else f"/{name}"
    else:
        if group is not None and group not in SUBJECTS and name not in ("list", "show"):
            path += f"/{name}"
        subject = None
    verb = "POST" if group == "credits" and name not in READS else _VERBS.get(name)
    return Operation(
        method, verb or ("GET" if name in READS else "POST"), path, subject, parameters, inspect.getdoc(function) or ""
    )


OPERATIONS: Final[Mapping[str, Operation]] = _operations()


class AdminHTTP:
    """Answers requests that carry the admin token."""

    def __init__(self, service: AdminService, token: str) -> None:
        self._service = service
        self._token = token.encode()

    async def answer(
        self, verb: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes, *, peer: str
    ) -> tuple[int, bytes]:
        """Status and JSON. `path` is as sent, header names are in lower case; `peer` is who asks, for the audit."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            return 401, _error("AdminError", "send the admin token as `Authorization: Bearer TOKEN`")
        if path == DESCRIPTION and verb == "GET":
            from nexeon.admin.openapi import describe

            return 200, orjson.dumps(describe())
        operation, params, allowed = _find(verb, path)
        if operation is None:
            if allowed:
                return 405, _error("AdminError", f"{verb} is not allowed here: use {' or '.join(sorted(allowed))}")
            return 404, _error("NotFound", f"nothing is at {path}: see {DESCRIPTION}")
        try:
            params |= _query(query) if verb == "GET" else _body(body)
            actor = f"{headers.get('x-nexeon-actor', 'http')} ({peer})"
            result = await self._service.call(operation.method, params, actor=_printable(actor))
        except NexeonError as error:
            status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
            return status, _error(type(error).__name__, str(error))
        return 200, orjson.dumps(result)


def _find(verb: str, path: str) -> tuple[Operation | None, dict[str, Any], set[str]]:
    """The operation and what its path says; which verbs would do, where only the verb is wrong."""
    parts = path.removeprefix(PREFIX).rstrip("/").split("/")
    allowed: set[str] = set()
    for operation in OPERATIONS.values():
        pattern = operation.path.split("/")
        if len(pattern) != len(parts):
            continue
        params: dict[str, Any] = {}
        for wanted, part in zip(pattern, parts, strict=True):
            if wanted.startswith("{"):
                params[wanted[1:-1]] = unquote(part)
            elif wanted != part:
                break
        else:
            if operation.verb == verb:
                return operation, params, allowed
            allowed.add(operation.verb)
    return None, {}, allowed


def _query(query: Mapping[str, str]) -> dict[str, Any]:
    """Query values are text: those of numbers and flags become what they stand for."""
    params: dict[str, Any] = dict(query)
    for name, value in query.items():
        if name in _NUMBERS and value.isascii() and value.isdecimal():
            params[name] = int(value)
        elif name in _FLAGS and value.lower() in _TRUTH:
            params[name] = _TRUTH[value.lower()]
    return params


def _body(body: bytes) -> dict[str, Any]:
    try:
        given = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise AdminError(f"the body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise AdminError("the body must be a JSON object")
    return given


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:100])


def _error(kind: str, message: str) -> bytes:
    return orjson.dumps({"error": {"type": kind, "message": message}})
