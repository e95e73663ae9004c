"""A client's body against the schema of its format: fast where it is right, clear where it is not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs

from nexeon.data import data_path
from nexeon.errors import RequestError
from nexeon.mapping.schemas import schema_folders
from nexeon.mapping.wirefacts import WireFacts

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_SHOWN: Final = 60
_LISTED: Final = 12
_WORDS: Final = frozenset({"const", "enum"})
_ALTERNATIVES: Final = frozenset({"anyOf", "oneOf"})
_TYPES: Final = {
    "object": "an object", "array": "an array", "string": "a string", "integer": "an integer", "number": "a number",
    "boolean": "a boolean", "null": "null",
}  # fmt: skip


class RequestValidator:
    """The request schema of one format, compiled."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._fast = jsonschema_rs.validator_for(schema)

    @cached_property
    def _explaining(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator  # slow to import, and needed only to explain

        return Draft202012Validator(self._schema)

    def made_of(self, schema: dict[str, Any]) -> bool:
        return self._schema == schema

    def check(self, body: dict[str, Any]) -> None:
        """Raises RequestError 400 with the `param` and what is wrong with it."""
        try:
            if self._fast.is_valid(body):
                return
        except ValueError:  # text that has no UTF-8, such as a lone surrogate: the slow one bears it
            pass
        error = next(iter(sorted(self._explaining.iter_errors(body), key=_depth, reverse=True)), None)
        if error is None:
            return
        error, allowed = _deepest(error)
        if allowed:
            raise invalid(_one_of(_param(error), allowed, error.instance), _param(error))
        raise invalid(_message(error), _param(error))


def load_validators(
    formats: Iterable[str], folders: Sequence[Path], before: Mapping[str, RequestValidator] | None = None
) -> dict[str, RequestValidator]:
    """By format name. The shipped schemas, then `schemas/formats/FORMAT/request.json` of each mapping folder; those of
    `before` where the schema is as it was."""
    known = before or {}
    found: dict[str, RequestValidator] = {}
    for name in formats:
        for root in reversed(schema_folders(data_path("schemas"), folders)):
            file = root / "formats" / name / "request.json"
            if file.is_file():
                schema = json.loads(file.read_bytes())
                there = known.get(name)
                found[name] = there if there is not None and there.made_of(schema) else RequestValidator(schema)
                break
    return found


def check_objects(wire: WireFacts, body: dict[str, Any]) -> None:
    """Refuses fields that name an object kept by a provider: it may belong to another customer of this gateway."""
    for path in wire.request.objects:
        if path.steps[0] not in body:
            continue
        for place, value in path.found(body) if path.all(body) else ():
            # a map only holds such names, each with a path of its own
            if value is not None and type(value) is not dict and value != "" and value != []:
                raise invalid(
                    f"`{place}` names an object kept by a provider, which this gateway did not make for this account",
                    place,
                    code="unsupported_object",
                )


def invalid(message: str, param: str | None = None, *, code: str | None = None) -> RequestError:
    return RequestError(400, "invalid_request", message, param=param, code=code, retryable=False)


def _depth(error: ValidationError) -> int:
    return -len(error.absolute_path)


def _deepest(error: ValidationError) -> tuple[ValidationError, list[Any]]:
    """Through alternatives, to the error of the one that was most likely meant.

    Where none was, because a tag such as `type` has a value of no alternative, what it may be comes with it.
    """
    while error.context:
        branches: dict[Any, list[ValidationError]] = {}
        for inner in error.context:
            branches.setdefault(inner.relative_schema_path[0], []).append(inner)
        best = min(branches.values(), key=_unlikeness)
        likeness = _unlikeness(best)[0]
        if likeness == 2 and len(branches) > 1:
            return error, []
        error = max(best, key=lambda inner: (_is_tag(inner), len(inner.relative_path)))
        if likeness == 1 and len(branches) > 1:
            place = list(error.absolute_path)
            tags = [inner for branch in branches.values() for inner in branch if _is_tag(inner)]
            return error, [value for tag in tags if list(tag.absolute_path) == place for value in _tag_values(tag)]
    return error, []


def _tag_values(error: ValidationError) -> list[Any]:
    if error.context:
        return [value for inner in error.context if inner.validator in _WORDS for value in _tag_values(inner)]
    wanted: Any = error.validator_value
    if error.validator == "not":
        return []
    return [wanted] if error.validator == "const" else list(wanted)


def _unlikeness(errors: list[ValidationError]) -> tuple[float, int]:
    """0: only something inside is wrong; 1: a tag such as `type` says another thing; 1.5: none is there, nor any other
    field in common; 2: another JSON type."""
    if any(not error.relative_path and error.validator == "type" for error in errors):
        return 2, len(errors)
    if any(_is_tag(error) for error in errors):
        return 1, len(errors)
    return 1.5 if any(_is_strange(error) for error in errors) else 0, len(errors)


def _is_tag(error: ValidationError) -> bool:
    if len(error.relative_path) != 1:
        return False
    if error.validator in _WORDS:
        return True
    # what may be missing is a word or null; what is open takes every word but those of the others
    wanted: Any = error.validator_value
    return isinstance(error.relative_path[0], str) and (
        (error.validator == "not" and not _WORDS.isdisjoint(wanted))
        or any(inner.validator in _WORDS and not inner.relative_path for inner in error.context)
    )


def _is_strange(error: ValidationError) -> bool:
    if error.validator != "required" or error.relative_path or not isinstance(error.instance, dict):
        return False
    schema: Any = error.schema
    required: Any = error.validator_value
    known: dict[str, Any] = schema.get("properties", {})
    lacks_tag = any(not _WORDS.isdisjoint(known.get(name, {})) for name in required if name not in error.instance)
    return lacks_tag or known.keys().isdisjoint(error.instance)


def _param(error: ValidationError) -> str | None:
    path = list(error.absolute_path)
    if error.validator == "required" and (name := _missing(error)) is not None:
        path.append(name)
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or None


def _missing(error: ValidationError) -> str | None:
    if isinstance(error.instance, dict) and isinstance(error.validator_value, list):
        return next((str(name) for name in error.validator_value if name not in error.instance), None)
    return None


def _message(error: ValidationError) -> str:
    place = _param(error)
    where = f"`{place}`" if place else "the request"
    wanted: Any = error.validator_value
    match error.validator:
        case "required":
            return f"{where} is required"
        case "type":
            types = [wanted] if isinstance(wanted, str) else list(wanted)
            return f"{where} must be {' or '.join(_TYPES.get(name, name) for name in types)}"
        case "enum":
            return (
                f"{where} must be one of {', '.join(_show(value) for value in wanted)}; it is {_show(error.instance)}"
            )
        case "const":
            return f"{where} must be {_show(wanted)}; it is {_show(error.instance)}"
        case "minItems" | "minLength" | "minProperties":
            return f"{where} must not be empty" if wanted == 1 else f"{where} must have at least {wanted}"
        case "maxItems" | "maxLength" | "maxProperties":
            return f"{where} must have at most {wanted}"
        case "minimum" | "exclusiveMinimum":
            return f"{where} must be {'at least' if error.validator == 'minimum' else 'more than'} {wanted}"
        case "maximum" | "exclusiveMaximum":
            return f"{where} must be {'at most' if error.validator == 'maximum' else 'less than'} {wanted}"
        case "additionalProperties" | "unevaluatedProperties":
            return f"{where} has a field that is not known here"
        case "pattern":
            return f"{where} has not the right form"
        case "anyOf" | "oneOf":
            return _none_of(where, error)
        case _:
            return f"{where} is not valid"


def _none_of(where: str, error: ValidationError) -> str:
    """What may stand here, where that is a matter of JSON types."""
    types: list[str] = []
    for inner in error.context:
        if not inner.relative_path and inner.validator == "type":
            wanted: Any = inner.validator_value
            types += [wanted] if isinstance(wanted, str) else wanted
    listed = " or ".join(dict.fromkeys(_TYPES.get(name, name) for name in types))
    return f"{where} must be {listed}" if listed else f"{where} is none of the things that may stand here"


def _one_of(place: str | None, allowed: list[Any], value: Any) -> str:
    shown = list(dict.fromkeys(_show(one) for one in allowed))
    listed = ", ".join(shown[:_LISTED]) + (", …" if len(shown) > _LISTED else "")
    return f"`{place}` must be {'one of ' if len(shown) > 1 else ''}{listed}; it is {_show(value)}"


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
