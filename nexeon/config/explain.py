"""What is wrong with a merged tree by the schema, in words that name the mend."""

from __future__ import annotations

import difflib
import functools
import json
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from nexeon.config.source import Tree, show
from nexeon.data import data_path
from nexeon.wire.yamlfile import YamlPath, core_scalar

_KINDS: Final = {
    "object": "a map",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@functools.cache
def schema() -> dict[str, Any]:
    """The shipped schema of the configuration."""
    loaded: dict[str, Any] = json.loads(data_path("schemas/gateway.schema.json").read_text(encoding="utf-8"))
    return loaded


def suggest(word: str, known: Collection[str]) -> str:
    """`: did you mean …?` where one of `known` is near, else the list of them where it is short."""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    if near:
        return f": did you mean `{by_folded[near[0]]}`?"
    if known and len(known) <= 12:
        return ": known are " + ", ".join(f"`{name}`" for name in sorted(known))
    return ""


def check_schema(tree: Tree) -> None:
    """Report every violation. Text from the environment becomes the type that is asked for."""
    import jsonschema_rs

    if jsonschema_rs.Draft202012Validator(schema()).is_valid(tree.value):
        return
    from jsonschema import Draft202012Validator  # slow to import, and needed only to explain

    validator = Draft202012Validator(schema())
    retyped = [_retype(tree, error) for error in validator.iter_errors(tree.value)]
    if any(retyped) and validator.is_valid(tree.value):
        return
    seen = set()
    for error in validator.iter_errors(tree.value):
        for path, within, message in _explain(tree, error):
            if (path, message) not in seen:
                seen.add((path, message))
                tree.report(path, message, within=within)


def _retype(tree: Tree, error: Any) -> bool:
    path: YamlPath = tuple(error.absolute_path)
    if error.validator != "type" or path not in tree.from_environment:
        return False
    holder: Any = tree.value
    for step in path[:-1]:
        holder = holder[step]
    try:
        value = core_scalar(holder[path[-1]])
    except ValueError:  # more digits than an int may have
        return False
    if isinstance(value, float) and not math.isfinite(value):
        return False
    holder[path[-1]] = value
    return True


def _explain(tree: Tree, error: Any) -> Iterator[tuple[YamlPath, YamlPath, str]]:
    """Where it is written, the part spoken of, and the words."""
    path: YamlPath = tuple(error.absolute_path)
    rule, value, given = error.validator, error.validator_value, error.instance
    where = show(path) or "the configuration"
    if rule in ("additionalProperties", "unevaluatedProperties"):
        known = _keys(error.schema)
        for key in given:
            if key not in known:
                yield (*path, key), path, f"unknown key `{key}` in {where}{suggest(key, known)}"
    elif rule == "required":
        missing = [f"`{name}`" for name in value if name not in given]
        yield path, path, f"missing {_list(missing, 'and')} in {where}"
    elif rule == "type":
        kinds = [value] if isinstance(value, str) else [kind for kind in value if kind != "null"]
        yield path, path, f"{where} must be {_list([_KINDS[kind] for kind in kinds])}, not {_given(tree, path, error)}"
    elif rule == "enum":
        yield path, path, f"{where} must be {_list([f'`{item}`' for item in value])}"
    elif rule == "pattern":
        name = f"`{given}` in {where}" if "propertyNames" in error.absolute_schema_path else where
        yield path, path, f"{name} {error.schema.get('patternErrorMessage', f'must match {value}')}"
    elif rule in ("minItems", "minLength"):
        yield path, path, f"{where} must not be empty"
    elif rule == "uniqueItems":
        yield path, path, f"{where} names one thing twice"
    elif rule in _BOUNDS:
        yield path, path, f"{where} must be {_BOUNDS[rule]} {value}"
    else:
        yield path, path, f"{where} breaks the rule `{rule}` of the schema"


_BOUNDS: Final = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}


def _keys(part: dict[str, Any]) -> list[str]:
    known = list(part.get("properties", ()))
    if reference := part.get("$ref"):
        known += _keys(schema()["$defs"][reference.rpartition("/")[2]])
    return known


def _list(words: Sequence[str], last: str = "or") -> str:
    return f" {last} ".join(word for word in (", ".join(words[:-1]), words[-1]) if word)


def _given(tree: Tree, path: YamlPath, error: Any) -> str:
    """The value itself only where it cannot be a secret."""
    value = error.instance
    secret = error.schema.get("writeOnly") or path in tree.from_environment
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    kind = "text" if isinstance(value, str) else "true or false" if isinstance(value, bool) else "a number"
    if secret or len(str(value)) > 60:
        return kind
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`" + (" (text)" if kind == "text" else "")
