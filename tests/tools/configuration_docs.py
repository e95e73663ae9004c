"""`docs/configuration.md`, made from `schemas/gateway.schema.json`. `make docs` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs/configuration.md"
SCHEMA = ROOT / "schemas/gateway.schema.json"


def document() -> str:
    """The whole page."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    lines = [
        "# gateway.yaml",
        "",
        "Made from `schemas/gateway.schema.json` by `make docs`; a test fails where they differ.",
        "",
        schema["description"],
        "",
        "| key | type | default | |",
        "|---|---|---|---|",
        *(
            f"| `{path}` | {kind} | {default} | {words} |"
            for path, kind, default, words in rows(schema, schema, "", set())
        ),
    ]
    return "\n".join(lines) + "\n"


def rows(node: Any, schema: Any, path: str, seen: set[str]) -> Iterator[tuple[str, str, str, str]]:
    """(path, type, default, words) of every key below a schema node."""
    node, seen = resolve(node, schema, seen)
    for name, child in node.get("properties", {}).items():
        inner = f"{path}.{name}" if path else name
        yield from described(child, schema, inner, seen, name in node.get("required", ()))
    extra = node.get("additionalProperties")
    if isinstance(extra, dict):
        yield from rows(extra, schema, f"{path}.*", seen)
    if isinstance(node.get("items"), dict):
        yield from rows(node["items"], schema, f"{path}[]", seen)


def described(
    child: Any, schema: Any, path: str, seen: set[str], required: bool
) -> Iterator[tuple[str, str, str, str]]:
    whole, _ = resolve(child, schema, set())
    kind = whole.get("type", "")
    kinds = " or ".join(one for one in kind if one != "null") if isinstance(kind, list) else str(kind)
    if "enum" in whole:
        kinds = " · ".join(f"`{one}`" for one in whole["enum"])
    default = "required" if required else f"`{json.dumps(whole['default'])}`" if "default" in whole else ""
    words = str(child.get("description", whole.get("description", ""))).replace("|", "\\|").replace("\n", " ")
    yield path, kinds, default.replace("|", "\\|"), words
    yield from rows(child, schema, path, seen)


def resolve(node: Any, schema: Any, seen: set[str]) -> tuple[dict[str, Any], set[str]]:
    """The node without its reference; a definition inside itself is not followed again."""
    if not isinstance(node, dict):
        return {}, seen
    reference = node.get("$ref")
    if reference is None:
        return node, seen
    name = reference.rsplit("/", 1)[1]
    if name in seen:
        return {"description": node.get("description", "")}, seen
    return {**schema["$defs"][name], **{key: value for key, value in node.items() if key != "$ref"}}, seen | {name}


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
