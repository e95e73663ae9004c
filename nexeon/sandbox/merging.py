"""Two JSON schemas as one that accepts only what both accept, as far as their keywords allow to say so."""

from __future__ import annotations

import math
from typing import Any

Schema = Any

_HIGHER = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"}
_LOWER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"}
_TELLING = {"title", "description", "default", "examples", "$comment", "$schema", "$id", "deprecated"}


def merge(a: Schema, b: Schema) -> Schema:
    """The schema of what both accept; False where that is plainly nothing."""
    if a is False or b is False:
        return False
    if not isinstance(a, dict) or not a:
        return b if isinstance(b, dict) else True if a in (True, {}) else a
    if not isinstance(b, dict) or not b:
        return a
    out = dict(a)
    for key, theirs in b.items():
        if key not in out or out[key] == theirs:
            out[key] = theirs
            continue
        joined = _keyword(key, out[key], theirs)
        if joined is _IMPOSSIBLE:
            return False
        if joined is _APART:
            out["allOf"] = [*out.get("allOf", []), {key: theirs}]
        else:
            out[key] = joined
    _close(out, a, b)
    return out


_IMPOSSIBLE = object()
_APART = object()


def _keyword(key: str, ours: Any, theirs: Any) -> Any:
    if key in _TELLING:
        return ours
    if key == "type":
        return _types(ours, theirs)
    if key == "enum":
        return [value for value in ours if value in theirs] or _IMPOSSIBLE
    if key == "const":
        return _IMPOSSIBLE
    if key == "required":
        return list(dict.fromkeys([*ours, *theirs]))
    if key in ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"):
        return {**ours, **{k: merge(ours[k], v) if k in ours else v for k, v in theirs.items()}}
    if key in _HIGHER or key in _LOWER:
        try:
            return max(ours, theirs) if key in _HIGHER else min(ours, theirs)
        except TypeError:
            return theirs
    if key in ("items", "additionalProperties", "contains", "propertyNames"):
        return merge(ours, theirs) if not (isinstance(ours, list) or isinstance(theirs, list)) else ours
    if key == "prefixItems":
        longer, shorter = (ours, theirs) if len(ours) >= len(theirs) else (theirs, ours)
        return [merge(s, shorter[i]) if i < len(shorter) else s for i, s in enumerate(longer)]
    if key in ("anyOf", "oneOf"):
        return [merge(one, other) for one in ours for other in theirs]
    if key == "allOf":
        return [*ours, *theirs]
    if key == "uniqueItems":
        return ours or theirs
    if key == "multipleOf" and isinstance(ours, int) and isinstance(theirs, int):
        return math.lcm(ours, theirs)
    if key == "$ref":
        return _APART
    if key == "not":
        return {"anyOf": [ours, theirs]}
    return theirs


def _types(ours: Any, theirs: Any) -> Any:
    a = [ours] if isinstance(ours, str) else list(ours)
    b = [theirs] if isinstance(theirs, str) else list(theirs)
    both = [kind for kind in a if kind in b]
    if "integer" not in both and (("integer" in a and "number" in b) or ("number" in a and "integer" in b)):
        both.append("integer")
    if not both:
        return _IMPOSSIBLE
    return both[0] if len(both) == 1 else both


def _close(out: dict[str, Any], a: dict[str, Any], b: dict[str, Any]) -> None:
    """`additionalProperties: false` on one side shuts out the properties that only the other side names."""
    for closed, other in ((a, b), (b, a)):
        if closed.get("additionalProperties") is False and not closed.get("patternProperties"):
            for name in other.get("properties") or {}:
                if name not in (closed.get("properties") or {}):
                    out["properties"] = {**out["properties"], name: False}
