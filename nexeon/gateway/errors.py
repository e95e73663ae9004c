"""Errors in the words of the client's own format."""

from __future__ import annotations

import logging
import math
from typing import Any, Final

from nexeon.errors import MappingFailure, RequestError
from nexeon.mapping import Format, new_context
from nexeon.wire.json import dumps

_PASSING: Final = frozenset({408, 409, 429})
"""Statuses below 500 that may be gone at the next try."""

_log = logging.getLogger("nexeon.gateway")


def canonical_error(error: RequestError, request_id: str) -> dict[str, Any]:
    """The canonical form of an error towards the client."""
    canonical: dict[str, Any] = {
        "kind": error.kind,
        "status": error.status,
        "message": error.message,
        "param": error.param,
        "request_id": request_id,
    }
    if error.code is not None:
        canonical["code"] = error.code
    if error.retry_after is not None:
        canonical["retry_after"] = error.retry_after
    return canonical


def error_body(format: Format, error: RequestError, request_id: str) -> bytes:
    """The JSON of an error answer."""
    canonical = canonical_error(error, request_id)
    try:
        return dumps(
            format.encode_error(canonical, new_context(format=format.name, status=error.status, token=request_id))
        )
    except MappingFailure as failure:
        _log.error("an error could not be told in %s: %s", format.name, failure)
        return dumps(
            {"error": {"type": error.kind, "message": error.message, "param": error.param, "code": error.code}}
        )


def error_headers(error: RequestError) -> dict[str, str]:
    """`retry-after`, and whether a retry can help at all."""
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    retryable = error.retryable
    if retryable is None:
        retryable = error.status >= 500 or error.status in _PASSING
    if not retryable:
        headers["x-should-retry"] = "false"
    return headers
