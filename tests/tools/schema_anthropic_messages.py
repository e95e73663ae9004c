"""Writes schemas/formats/anthropic.messages/*.json from the official SDK's types and the facts its types leave out.

Run it after an SDK upgrade: `python tests/tools/schema_anthropic_messages.py`; the diff shows what the provider added.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming
from pydantic import TypeAdapter

Schema = dict[str, Any]

TARGET = Path(__file__).parents[2] / "schemas" / "formats" / "anthropic.messages"
# Roles decide how a turn is read, so an unknown one is an error; every other word list may grow without notice.
STRICT_ENUMS = ({"user", "assistant", "system"},)
# Definitions that would only repeat a catalogue of sub-tools: any object does.
OPAQUE = re.compile(r"(Browser|Computer)\w*Configs|ToolChangeToolDefinition|BetaResponseTool$|BetaMCPTool(Param)*$")

# Fields of an answer without which its part says nothing.
NEEDED = {
    "type",
    "index",
    "delta",
    "message",
    "content_block",
    "id",
    "name",
    "text",
    "thinking",
    "signature",
    "data",
    "tool_use_id",
    "partial_json",
    "citation",
    "error",
    "input_tokens",
    "output_tokens",
}


def name_of(ref: str) -> str:
    name = ref.rsplit("/", 1)[-1]
    if name == "BetaRequestDocumentBlockParam":
        return "DocumentBlock"
    return re.sub(r"^(Beta)?(Request|Response)?|(Param)+$", "", name) or name


def tidy(schema: Any, defs: dict[str, Schema]) -> Any:
    """The schema without prose, with open objects and open word lists."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        if OPAQUE.search(schema["$ref"]):
            return {"type": "object"}
        return {"$ref": f"#/$defs/{name_of(schema['$ref'])}"}
    out: Schema = {}
    for key, value in schema.items():
        if key in ("title", "description", "default", "discriminator", "additionalProperties"):
            continue
        if key == "properties":
            out[key] = {name: tidy(sub, defs) for name, sub in value.items()}
            if "enum" in value.get("type", {}):  # a definition that bears one of several `type` words
                out[key]["type"]["enum"] = value["type"]["enum"]
        elif key in ("items", "not"):
            out[key] = tidy(value, defs)
        elif key in ("anyOf", "oneOf"):
            out["anyOf"] = [tidy(branch, defs) for branch in value]
        elif key == "enum":
            if set(value) in STRICT_ENUMS:
                out[key] = value
        else:
            out[key] = value
    if "anyOf" in out:
        out = union(out, defs)
    return out


def union(schema: Schema, defs: dict[str, Schema]) -> Schema:
    branches: list[Any] = []
    for branch in schema["anyOf"]:
        for one in branch["anyOf"] if set(branch) == {"anyOf"} else [branch]:
            if one not in branches:
                branches.append(one)
    if {"type": "string"} in branches:
        branches = [b for b in branches if not (b.get("type") == "string" and b != {"type": "string"})]
    types = {name: tag(defs, b["$ref"]) for b in branches if "$ref" in b for name in [b["$ref"]]}
    if len(types) > 1 and all(types.values()):
        known = sorted({word for words in types.values() for word in words})
        # A block of a type not known here is nobody's error: it passes through.
        branches.append(
            {"type": "object", "properties": {"type": {"type": "string", "not": {"enum": known}}}, "required": ["type"]}
        )
    if len(branches) == 1:
        return {**{k: v for k, v in schema.items() if k != "anyOf"}, **branches[0]}
    return {**schema, "anyOf": branches}


def tag(defs: dict[str, Schema], ref: str) -> list[str]:
    """The `type` words that an object of this definition bears."""
    wanted = ref.rsplit("/", 1)[-1]
    for name, schema in defs.items():
        if name_of(name) == wanted:
            kind = schema.get("properties", {}).get("type", {})
            branches = kind.get("anyOf", [kind])
            return [word for b in branches for word in ([b["const"]] if "const" in b else b.get("enum", []))]
    return []


def build(source: Schema, title: str, drop: re.Pattern[str] | None = None) -> Schema:
    defs = source.pop("$defs")
    for schema in [*defs.values(), source]:
        for prop in schema.get("properties", {}).values():
            prune(prop, drop)
    defs = {name: defs[name] for name in sorted(reachable(source, defs))}
    root = tidy(source, defs)
    tidied: dict[str, Schema] = {}
    for name, schema in defs.items():
        tidied.setdefault(name_of(name), tidy(schema, defs))
    out = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **root}
    out["$defs"] = {name: tidied[name] for name in sorted(reachable(out, tidied))}
    return out


def prune(schema: Any, drop: re.Pattern[str] | None) -> None:
    """Takes the answer's own block types out of request unions: their request forms are there already."""
    if isinstance(schema, dict):
        if drop and "anyOf" in schema:
            schema["anyOf"] = [b for b in schema["anyOf"] if not drop.search(b.get("$ref", ""))]
        for value in schema.values():
            prune(value, drop)
    elif isinstance(schema, list):
        for value in schema:
            prune(value, drop)


def reachable(schema: Any, defs: dict[str, Schema], seen: set[str] | None = None) -> set[str]:
    seen = set() if seen is None else seen
    for value in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(value, str) and value.startswith("#/$defs/"):
            name = value.rsplit("/", 1)[-1]
            if name not in seen and not OPAQUE.search(value):
                seen.add(name)
                reachable(defs[name], defs, seen)
        elif isinstance(value, dict | list):
            reachable(value, defs, seen)
    return seen


def request() -> Schema:
    source = TypeAdapter(MessageCreateParamsNonStreaming).json_schema()
    answers = re.compile(r"/(?!.*Param$)Beta\w+(Block|Tool\w*|Toolset|ToolDefinition)$|/BetaRe(sponse)\w+$")
    schema = build(source, "A request to the Messages API", answers)
    properties = schema["properties"]
    properties.pop("betas", None)  # a header on the wire
    properties["stream"] = {"type": "boolean"}
    properties["model"] = {"type": "string", "minLength": 1}
    # 0 warms the prompt cache and generates nothing.
    properties["max_tokens"] = {"type": "integer", "minimum": 0}
    properties["messages"]["minItems"] = 1
    # Left out of the newest SDK's types, but taken by the models that existed before them.
    properties["temperature"] = {"type": "number", "minimum": 0, "maximum": 1}
    properties["top_p"] = {"type": "number", "minimum": 0, "maximum": 1}
    properties["top_k"] = {"type": "integer", "minimum": 0}
    # The beta name of output_config.format, still accepted.
    properties["output_format"] = {"anyOf": [{"$ref": "#/$defs/JSONOutputFormat"}, {"type": "null"}]}
    schema["required"] = ["model", "max_tokens", "messages"]
    defs = schema["$defs"]
    defs["ThinkingConfigEnabled"]["properties"]["budget_tokens"]["minimum"] = 1024
    defs["Tool"]["properties"]["name"] = {"type": "string", "minLength": 1, "maxLength": 128}
    defs["Tool"]["properties"]["input_schema"] = {"type": "object"}
    defs.pop("InputSchemaTyped", None)
    # `type` is optional here: no `type` (or null) is a tool of the client's own.
    any_tool = properties["tools"]["items"]["anyOf"][-1]
    any_tool["properties"]["type"]["not"]["enum"] = sorted({*any_tool["properties"]["type"]["not"]["enum"], "custom"})
    for block in ("ToolUseBlock", "ServerToolUseBlock", "MCPToolUseBlock"):
        defs[block]["properties"]["input"] = {"type": "object"}
    return schema


def response() -> Schema:
    schema = build(TypeAdapter(BetaMessage).json_schema(), "A message, as the Messages API answers")
    loosen(schema)
    return schema


def event() -> Schema:
    source = TypeAdapter(BetaRawMessageStreamEvent).json_schema()
    defs = source["$defs"]
    defs["BetaPing"] = {"type": "object", "properties": {"type": {"const": "ping"}}, "required": ["type"]}
    defs["BetaErrorEvent"] = {
        "type": "object",
        "properties": {"type": {"const": "error"}, "error": error_object(), "request_id": nullable({"type": "string"})},
        "required": ["type", "error"],
    }
    source["anyOf"] = [
        *(source.pop("anyOf", None) or source.pop("oneOf")),
        {"$ref": "#/$defs/BetaPing"},
        {"$ref": "#/$defs/BetaErrorEvent"},
    ]
    schema = build(source, "An event of a Messages API stream")
    loosen(schema)
    return schema


def loosen(schema: Schema) -> None:
    """Answers come in older shapes too: what a reader needs is required, no more."""
    for name, one in schema["$defs"].items():
        if "required" in one and name != "Message":
            one["required"] = [field for field in one["required"] if field in NEEDED]
        if "input" in one.get("properties", {}):
            one["properties"]["input"] = {"type": "object"}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def error_object() -> Schema:
    # `param` and `code` are what this gateway adds; `details` came with newer API versions.
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "type": text,
            "message": text,
            "details": nullable({"type": "object"}),
            "param": nullable(text),
            "code": nullable(text),
        },
        "required": ["type", "message"],
    }


def error() -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An error, as the Messages API answers",
        "type": "object",
        "properties": {
            "type": {"const": "error"},
            "error": error_object(),
            "request_id": nullable({"type": "string"}),
        },
        "required": ["type", "error"],
    }


def lines(schema: Schema) -> str:
    """JSON with a line for each definition and property of the root, so that a diff names what changed."""
    rows = []
    for key, value in schema.items():
        if key in ("$defs", "properties"):
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(sub)}" for name, sub in value.items())
            rows.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            rows.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(rows) + "\n}\n"


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, schema in {"request": request(), "response": response(), "event": event(), "error": error()}.items():
        (TARGET / f"{name}.json").write_text(lines(schema))


if __name__ == "__main__":
    main()
