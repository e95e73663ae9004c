"""Filters on identifiers: the gateway's mark, and stand-ins for those that a narrower grammar refuses."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any, Final

from nexeon.mapping.functions import filter_, need

_PLAIN: Final = re.compile("[A-Za-z0-9_-]+")
_ID_PREFIX = re.compile(r"[A-Za-z]+[_-]")


@filter_()
def gateway_id(value: Any, prefix: str | None = None) -> str:
    """A provider's id with the gateway's mark after its prefix, or after `prefix` instead of its own."""
    identifier: str = need(value, str, "gateway_id")
    found = _ID_PREFIX.match(identifier)
    own = found.group() if found else ""
    rest = identifier[len(own) :]
    return (own if prefix is None else prefix) + (rest if rest.startswith("nex-") else "nex-" + rest)


@filter_()
def provider_id(value: Any, prefix: str | None = None) -> str:
    """`gateway_id` undone; an id without the mark stays."""
    identifier: str = need(value, str, "provider_id")
    found = _ID_PREFIX.match(identifier)
    own = found.group() if found else ""
    rest = identifier[len(own) :]
    if own == "nex-":
        own, rest = "", identifier
    if not rest.startswith("nex-"):
        return identifier
    return (own if prefix is None else prefix) + rest.removeprefix("nex-")


@filter_()
def fit_id(value: Any, longest: int = 64) -> str:
    """An identifier within `[A-Za-z0-9_-]` and the length; one that fits stays, others get a stable stand-in."""
    if (
        type(value) is str
        and len(value) <= longest
        and (
            (value.isascii() and value.isidentifier())
            or _PLAIN.fullmatch(value)  # identifiers are plain, and soon seen
        )
    ):
        return value
    identifier: str = need(value, str, "fit_id")
    packed = "nex_" + base64.urlsafe_b64encode(identifier.encode("utf-8", "surrogatepass")).decode().rstrip("=")
    if len(packed) <= longest:
        return packed
    return ("nex_" + hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest())[:longest]


@filter_()
def unfit_id(value: Any) -> str:
    """`fit_id` undone, where its stand-in holds the whole identifier; any other identifier stays."""
    identifier: str = need(value, str, "unfit_id")
    packed = identifier.removeprefix("nex_")
    if not packed or packed == identifier:
        return identifier
    try:
        found = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        return identifier
    return found if fit_id(found, len(identifier)) == identifier else identifier
