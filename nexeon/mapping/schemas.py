"""The JSON Schemas beside the mappings, compiled for the hot path and for explanations.

`jsonschema-rs` decides; only a value that it refuses is looked at again by `jsonschema`, which can say what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson

from nexeon.wire.json import dumps, loads

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError


class Validator:
    """One schema."""

    def __init__(self, schema: dict[str, Any], name: str) -> None:
        self.schema = schema
        self.name = name

    @cached_property
    def _fast(self) -> jsonschema_rs.Draft202012Validator:
        return jsonschema_rs.Draft202012Validator(self.schema)

    @cached_property
    def _slow(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator  # slow to import, and needed only to explain

        return Draft202012Validator(self.schema)

    def prepare(self) -> None:
        """Compiles now what would else be compiled at the first request."""
        _ = self._fast

    def accepts(self, value: Any) -> bool:
        """Whether plain JSON data fits."""
        try:
            return self._fast.is_valid(value)
        except ValueError:  # an integer that the compiled validator cannot hold
            return self._slow.is_valid(value)

    def explain(self, value: Any) -> tuple[str, str] | None:
        """(path as `a[0].b`, message) of the error that says most; None where the value fits."""
        errors = list(self._slow.iter_errors(value))
        if not errors:
            return None
        best = _most_telling(errors)
        return path_text(best.absolute_path), sentence(best)


class Schemas:
    """`schemas/`: the canonical form, and each format's request, response, event and error."""

    def __init__(self, *folders: Path) -> None:
        """Later folders win, so that an operator's own format can bring its schemas."""
        self.folders = folders
        self._cache: dict[str, Validator | None] = {}

    def _load(self, relative: str) -> dict[str, Any] | None:
        for folder in reversed(self.folders):
            path = folder / relative
            if path.is_file():
                schema = orjson.loads(path.read_bytes())
                assert isinstance(schema, dict)
                return schema
        return None

    def document(self, relative: str) -> dict[str, Any]:
        """A schema file as data. Raises FileNotFoundError."""
        found = self._load(relative)
        if found is None:
            raise FileNotFoundError(relative)
        return found

    def canonical(self, definition: str) -> Validator:
        """A definition of the canonical form, such as `request`."""
        key = f"canonical#{definition}"
        if key not in self._cache:
            schema = self.document("canonical.schema.json")
            self._cache[key] = Validator(
                {"$schema": schema["$schema"], "$defs": schema["$defs"], "$ref": f"#/$defs/{definition}"}, key
            )
        found = self._cache[key]
        assert found is not None
        return found

    def format(self, name: str, part: str) -> Validator | None:
        """A format's `request`, `response`, `event` or `error`; None where it has no such schema."""
        key = f"formats/{name}/{part}.json"
        if key not in self._cache:
            schema = self._load(key)
            self._cache[key] = Validator(schema, key) if schema is not None else None
        return self._cache[key]


def schema_folders(builtin: Path, mappings: Iterable[Path]) -> tuple[Path, ...]:
    """The shipped schemas, and those beside an operator's own mappings: `<folder>/schemas`."""
    own = [folder / "schemas" for folder in mappings if (folder / "schemas").is_dir()]
    return (builtin, *own)


def plain_json(value: Any) -> Any:
    """What the value is once it has been written and read: embedded fragments become data."""
    return loads(dumps(value))


def path_text(path: Any) -> str:
    """`messages[0].role` of a path's parts."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def sentence(error: ValidationError) -> str:
    """The error in words a client's developer understands; long values are cut."""
    if error.validator == "required":
        found = re.match(r"'(.+)' is a required property", error.message)
        return f"Missing required parameter: '{found.group(1)}'" if found else error.message
    if error.validator == "type":
        wanted = error.validator_value
        expected = " or ".join(wanted) if isinstance(wanted, list) else wanted
        return f"Invalid type: expected {expected}, got {_kind(error.instance)}"
    if error.validator == "enum":
        allowed = ", ".join(map(_cut, _listed(error.validator_value)))
        return f"Invalid value: {_cut(error.instance)}; expected one of {allowed}"
    if error.validator == "const":
        return f"Invalid value: {_cut(error.instance)}; expected {_cut(error.validator_value)}"
    return f"Invalid value: {error.message if len(error.message) <= 300 else error.message[:297] + '…'}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _cut(value: Any) -> str:
    text = dumps(value).decode(errors="replace")
    return text if len(text) <= 60 else text[:57] + "…"


def _kind(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _most_telling(errors: list[ValidationError]) -> ValidationError:
    """Descends into the alternative of an anyOf/oneOf that came nearest: its error lies deepest."""
    best = min(errors, key=lambda error: (-len(error.absolute_path), error.validator in ("anyOf", "oneOf")))
    while best.context:
        inner = [
            error
            for error in best.context
            if error.validator != "type" or len(error.absolute_path) > len(best.absolute_path)
        ]
        options = inner or list(best.context)
        deepest = max(len(error.absolute_path) for error in options)
        nearest = [error for error in options if len(error.absolute_path) == deepest]
        if (
            inner
            and all(error.validator in ("const", "enum") for error in nearest)
            and len({str(error.absolute_path) for error in nearest}) == 1
            and len(nearest) > 1
        ):
            best = nearest[0]  # a discriminator matched no alternative
            allowed: list[Any] = []
            for error in nearest:
                allowed += _listed(error.validator_value)
            best.validator, best.validator_value = "enum", list(dict.fromkeys(map(str, allowed)))
            break
        best = nearest[0]
    return best
