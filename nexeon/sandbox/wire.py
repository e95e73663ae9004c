"""What every wire format module gives to the routes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import orjson

from nexeon.errors import RequestError
from nexeon.sandbox.content import Ask, Plan


class Wire(Protocol):
    """One wire format. Bodies are bytes ready to send; a stream's items are whole events, one each."""

    def read(self, body: dict[str, Any], model: str, stream: bool, counting: bool) -> Ask:
        """What the request asks. The rest is what the path says: the model and a stream (where the format has those
        there), and whether only the input's tokens are to be counted. Raises `RequestError`."""

    def reply(self, ask: Ask, plan: Plan) -> bytes: ...

    def events(self, ask: Ask, plan: Plan) -> Iterator[bytes]: ...

    def error(self, status: int, message: str, param: str | None = None) -> bytes:
        """The error body of a response with that status."""

    def error_events(self, ask: Ask, plan: Plan, sent: int, message: str) -> Iterable[bytes]:
        """What the stream holds in place of its rest, where it fails after `sent` events."""

    def count(self, ask: Ask) -> bytes:
        """The answer to a request to count the input's tokens."""

    def content_type(self, streamed: bool) -> str: ...


def event(name: str, payload: dict[str, Any]) -> bytes:
    """A server-sent event with a name."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(payload) + b"\n\n"


def data(payload: dict[str, Any]) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def invalid(message: str, param: str) -> RequestError:
    return RequestError(400, "invalid_request", message, param=param)


def need_list(body: dict[str, Any], key: str) -> list[Any]:
    """The non-empty list at `key`. Raises `RequestError` where there is none."""
    value = body.get(key)
    if not isinstance(value, list) or not value:
        raise invalid(f"'{key}' must be a list that is not empty", key)
    return value


def need_model(body: dict[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("'model' must name a model", "model")
    return model


def whole(value: Any) -> int | None:
    """A token limit as a request gives it; None where it gives none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def size(value: Any) -> int:
    """The length of a value's JSON text."""
    return len(orjson.dumps(value)) if value else 0
