"""Bodies for the request log: without secrets, without bulk."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

import orjson

HIDDEN: Final = "[redacted]"
_ALWAYS: Final = frozenset(
    {
        "authorization",
        "apikey",
        "xapikey",
        "password",
        "passwd",
        "secret",
        "token",
        "accesstoken",
        "refreshtoken",
        "clientsecret",
    }
    | {"privatekey", "credential", "credentials", "cookie", "authorizationtoken"}
)
# Our own keys, bearer tokens, and what providers commonly begin a key with.
_SECRET: Final = re.compile(
    r"nex-sk-[\w-]{8,}|\b(?:sk|pk|rk|xox[a-z]|gh[pousr])[-_][\w-]{16,}|(?i:\bbearer\s+)[\w.~+/=-]{8,}"
)
# Base64 of some length: pictures, sound and files.
_BULK: Final = re.compile(r"(?:[A-Za-z0-9+/_-]{4}){256,}={0,2}")


def redacted(body: bytes, limit: int, names: Collection[str] = ()) -> str:
    """The body as JSON text of at most `limit` characters; what is no JSON as text. `names` are more secret fields."""
    hidden = _ALWAYS | {_plain(name) for name in names}
    try:
        text = orjson.dumps(_clean(orjson.loads(body), hidden)).decode()
    except orjson.JSONDecodeError:
        text = "".join(_clean_event(line, hidden) for line in body.decode("utf-8", "replace").splitlines(keepends=True))
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more)"


def _clean_event(line: str, hidden: Collection[str]) -> str:
    """A line of a stream: its data is JSON, mostly."""
    head, colon, data = line.partition(":")
    if head == "data" and colon:
        try:
            return f"data: {orjson.dumps(_clean(orjson.loads(data), hidden)).decode()}\n"
        except orjson.JSONDecodeError:
            pass
    return _text(line)


def _clean(value: Any, hidden: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: HIDDEN if isinstance(item, str) and _plain(name) in hidden else _clean(item, hidden)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_clean(item, hidden) for item in value]
    return _text(value) if isinstance(value, str) else value


def without_secrets(text: str) -> str:
    """The text without what looks like a secret."""
    return _SECRET.sub(HIDDEN, text)


def _text(text: str) -> str:
    text = without_secrets(text)
    return _BULK.sub(lambda found: f"[{len(found[0])} characters]", text) if len(text) > 1024 else text


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
