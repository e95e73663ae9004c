"""Seals: opaque proofs that only their maker can read, and the envelope they travel in towards other formats' clients.

A canonical seal is `{provider, account, model, format, kind, data}`; one that a client sent bare has no provider, only
the format it came in. An envelope is text: a marker, then base64url of the seal as a JSON list.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import orjson

from nexeon.mapping.missing import MISSING

MARK: Final = "nxs1."
_MARK_IN_BASE64: Final = base64.b64encode(MARK.encode()).decode()[:6]
_FIELDS: Final = ("provider", "account", "model", "format", "kind", "data")


def close_envelope(seal: dict[str, Any]) -> str:
    """The seal as text that any format can carry."""
    packed = orjson.dumps([seal.get(name) for name in _FIELDS])
    return MARK + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def is_envelope(text: str) -> bool:
    """Whether the text is an envelope of ours, as it is or in base64 (a field of bytes carries nothing else)."""
    return text.startswith((MARK, _MARK_IN_BASE64))


def open_envelope(text: str) -> dict[str, Any] | None:
    """The seal in an envelope of ours; None where the text is none, or a damaged one."""
    if text.startswith(_MARK_IN_BASE64):
        try:
            text = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        except ValueError:
            return None
    if not text.startswith(MARK):
        return None
    packed = text[len(MARK) :]
    try:
        fields = orjson.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(fields, list) or len(fields) != len(_FIELDS):
        return None
    seal = {name: value for name, value in zip(_FIELDS, fields, strict=True) if value is not None}
    return seal if isinstance(seal.get("data"), str) and isinstance(seal.get("kind"), str) else None


def make_seal(text: Any, kind: str, ctx: dict[str, Any]) -> Any:
    """A canonical seal of what a provider or a client sent; MISSING for a missing, null or empty text."""
    if text is MISSING or text is None or text == "":
        return MISSING
    if type(text) is not str:
        raise TypeError(f"a seal is text, not {type(text).__name__}")
    if is_envelope(text):
        return open_envelope(text) or MISSING
    seal = {"format": ctx["format"], "kind": kind, "data": text}
    if provider := ctx.get("provider"):
        seal["provider"] = provider
        seal["account"] = ctx.get("account") or "default"
        seal["model"] = ctx.get("upstream_model") or ""
    return seal


def usable(
    seal: dict[str, Any], *, provider: str, account: str | None, format_name: str, model: str | None = None
) -> bool:
    """Whether the provider that is about to be asked made this seal: same provider and organisation.

    Where a provider serves other makers' models, as `maker/model`, the maker must be the same, too. A bare seal (its
    client got it through a pipe, or elsewhere) is only tried where the same format is spoken.
    """
    if "provider" not in seal:
        return seal.get("format") == format_name
    if seal["provider"] != provider or (account is not None and seal.get("account") not in (None, account)):
        return False
    made_by, asked = seal.get("model") or "", model or ""
    return "/" not in made_by or "/" not in asked or made_by.partition("/")[0] == asked.partition("/")[0]


def break_seal(seal: Any, kinds: tuple[str, ...], ctx: dict[str, Any]) -> Any:
    """The text of a seal that the target can read, else MISSING."""
    if type(seal) is not dict or (kinds and seal.get("kind") not in kinds):
        return MISSING
    if not usable(
        seal,
        provider=ctx.get("provider", ""),
        account=ctx.get("account"),
        format_name=ctx["format"],
        model=ctx.get("upstream_model"),
    ):
        return MISSING
    return seal["data"]
