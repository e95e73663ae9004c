"""Writes schemas/formats/gemini.generate_content/*.json from the official SDK's types and what the API reference adds.

Run it after an SDK upgrade: `python tests/tools/schema_gemini_generate_content.py`; the diff shows what the provider
added. Proto JSON takes every field in camelCase and in snake_case, and null for a field that is not set: so does the
request schema.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from google.genai import types
from pydantic import TypeAdapter

Schema = dict[str, Any]

TARGET = Path(__file__).parents[2] / "schemas" / "formats" / "gemini.generate_content"
PROSE = {"title", "description", "default", "additionalProperties", "format", "const"}
# Sub-trees of other products that this API's own reference does not have: any object does.
OPAQUE = re.compile(
    r"Retrieval$|McpServer|ComputerUse|ToolParallelAiSearch|ToolExaAiSearch|SpeechConfig|RoutingConfig|"
    r"ModelSelectionConfig|AudioTranscriptionConfig|TranslationConfig|ResponseFormat|ModelArmorConfig|"
    r"(Document|Spreadsheet|Audio|Speech)Metadata|Transcription|MediaProcessing|RetrievalMetadata|ModelStatus|"
    r"GroundingChunkMaps$|GroundingChunkImage$|ImageConfig|RagChunk"
)
# Known on the wire, not (yet) in the SDK's types.
MORE: dict[str, list[str]] = {
    "PromptFeedback": ["blockReasonMessage"],
    "UsageMetadata": ["serviceTier"],
    "RetrievedContext": ["fileSearchStore", "customMetadata"],
}
NAMES = {
    "GenerateContentResponsePromptFeedback": "PromptFeedback",
    "GenerateContentResponseUsageMetadata": "UsageMetadata",
    "GroundingChunkRetrievedContext": "RetrievedContext",
    "GroundingChunkWeb": "WebChunk",
}
# Where a JSON value is the caller's own: no field of ours is looked for in it.
FREE = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "partMetadata", "labels"}
NEEDED = {"FunctionCall": [], "FunctionResponse": [], "FunctionDeclaration": ["name"]}


def name_of(ref: str) -> str:
    name = ref.rsplit("/", 1)[-1]
    return NAMES.get(name, name)


def snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", lambda m: "_" + m.group(1).lower(), name)


def tidy(schema: Any, *, lenient: bool) -> Any:
    """The schema without prose, with open objects and open word lists; `lenient` adds null and snake_case."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        if OPAQUE.search(schema["$ref"]):
            return {"type": "object"}
        return {"$ref": f"#/$defs/{name_of(schema['$ref'])}"}
    if "enum" in schema or "const" in schema:
        return {"type": "string"}
    if "anyOf" in schema:
        branches = [tidy(branch, lenient=lenient) for branch in schema["anyOf"]]
        kept = [b for b in branches if b != {"type": "null"}]
        if not kept:
            return {}
        return maybe_null(kept, lenient and len(kept) < len(branches))
    out: Schema = {}
    for key, value in schema.items():
        if key in PROSE:
            continue
        if key == "properties":
            out[key] = properties(value, lenient=lenient)
        elif key == "items":
            out[key] = tidy(value, lenient=lenient)
        elif key == "required":
            continue
        else:
            out[key] = value
    return out


def maybe_null(branches: list[Schema], null: bool) -> Schema:
    if len(branches) > 1:
        branches = [b for i, b in enumerate(branches) if b not in branches[:i]]
    if len(branches) == 1:
        only = branches[0]
        if not null or not only:
            return only
        if isinstance(only.get("type"), str):
            return {**only, "type": [only["type"], "null"]}
    return {"anyOf": [*branches, {"type": "null"}] if null else branches}


def properties(fields: dict[str, Any], *, lenient: bool) -> Schema:
    out: Schema = {}
    for name, value in fields.items():
        if value is None:
            continue
        free = {"type": ["object", "null"]} if name in ("args", "response", "partMetadata", "labels") else {}
        schema = free if name in FREE else tidy(value, lenient=lenient)
        out[name] = schema
        if lenient and snake(name) != name:
            out[snake(name)] = schema
    return out


def definitions(roots: list[Any], *, lenient: bool) -> dict[str, Schema]:
    _, raw = TypeAdapter.json_schemas([(root, "validation", TypeAdapter(root)) for root in roots])
    found = {n: d for n, d in raw.get("$defs", {}).items() if not OPAQUE.search(n) and "enum" not in d}
    defs = {name_of(n): tidy(d, lenient=lenient) for n, d in found.items()}
    enums = {name_of(n) for n, d in raw.get("$defs", {}).items() if "enum" in d}
    defs = {name: inline(definition, enums) for name, definition in defs.items()}
    for name, fields in MORE.items():
        for field in fields:
            if name in defs:
                defs[name]["properties"].setdefault(field, {} if field == "customMetadata" else {"type": "string"})
    return defs


def inline(schema: Any, enums: set[str]) -> Any:
    """References to word lists become plain text."""
    if isinstance(schema, list):
        return [inline(item, enums) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("$ref", "").rsplit("/", 1)[-1] in enums:
        return {"type": "string"}
    out = {key: inline(value, enums) for key, value in schema.items()}
    branches = out.get("anyOf")
    if branches == [{"type": "string"}, {"type": "null"}]:
        return {"type": ["string", "null"]}
    return out


def reachable(schema: Schema, defs: dict[str, Schema]) -> dict[str, Schema]:
    seen: set[str] = set()
    todo = re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema))
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += re.findall(r'"#/\$defs/(\w+)"', json.dumps(defs[name]))
    return {name: defs[name] for name in sorted(seen)}


def write(name: str, title: str, schema: Schema, defs: dict[str, Schema]) -> None:
    head: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    used = reachable(schema, defs)
    body = head | schema | ({"$defs": used} if used else {})
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / name).write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")


def both(fields: Schema) -> Schema:
    return {alias: schema for name, schema in fields.items() for alias in dict.fromkeys((name, snake(name)))}


def request() -> tuple[Schema, dict[str, Schema]]:
    roots = [types.Content, types.Tool, types.ToolConfig, types.GenerationConfig, types.SafetySetting]
    defs = definitions(roots, lenient=True)
    number = {"type": ["number", "null"]}
    config = defs["GenerationConfig"]["properties"]
    whole = {"type": ["integer", "string", "null"]}  # proto JSON writes 64-bit numbers as text
    for name in ("candidateCount", "maxOutputTokens"):
        config |= both({name: {"type": ["integer", "null"], "minimum": 1}})
    config |= both({"logprobs": {"type": ["integer", "null"], "minimum": 0}, "topK": number})
    config |= {"temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2}}
    config |= both({"topP": {"type": ["number", "null"], "minimum": 0, "maximum": 1}})
    # Not in the SDK's GenerationConfig, yet in the API's: the SDK sends them from its own configuration class.
    config |= both({"imageConfig": {"type": "object"}, "enableEnhancedCivicAnswers": {"type": ["boolean", "null"]}})
    defs["ThinkingConfig"]["properties"] |= both({"thinkingBudget": {"type": ["integer", "null"], "minimum": -1}})
    for bound in ("maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties"):
        defs["Schema"]["properties"] |= both({bound: whole})
    # The API refuses what only JSON Schema has; another provider's model may well take it.
    defs["Schema"]["properties"] |= {"type": {"type": ["string", "array", "null"]}, "enum": {"type": ["array", "null"]}}
    defs["Schema"]["properties"] |= {"$ref": {"type": "string"}, "$defs": {"type": "object"}}
    content = defs["Content"]["properties"]
    content["role"] = {"enum": ["user", "model", "function", None]}
    content["parts"] = one_or_more("Part")
    defs["SystemContent"] = {
        "type": "object",
        "properties": {"role": {"type": ["string", "null"]}, "parts": content["parts"]},
    }
    defs["FunctionDeclaration"]["required"] = ["name"]
    defs["FunctionDeclaration"]["properties"]["name"] = {"type": "string"}
    tool = defs["Tool"]["properties"]
    tool |= both({"functionDeclarations": one_or_more("FunctionDeclaration")})
    system = {"anyOf": [{"$ref": "#/$defs/SystemContent"}, one_or_more("Part"), {"type": ["string", "null"]}]}
    schema: Schema = {
        "type": "object",
        "properties": both(
            {
                "model": {"type": ["string", "null"]},
                "contents": {
                    "anyOf": [
                        {"type": "array", "items": {"$ref": "#/$defs/Content"}, "minItems": 1},
                        {"$ref": "#/$defs/Content"},
                    ]
                },
                "systemInstruction": system,
                "tools": one_or_more("Tool"),
                "toolConfig": nullable("ToolConfig"),
                "safetySettings": {"type": ["array", "null"], "items": {"$ref": "#/$defs/SafetySetting"}},
                "generationConfig": nullable("GenerationConfig"),
                "cachedContent": {"type": ["string", "null"]},
                "labels": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
                "serviceTier": {"type": ["string", "null"]},
                "store": {"type": ["boolean", "null"]},
            }
        ),
        "required": ["contents"],
    }
    return schema, defs


def one_or_more(name: str) -> Schema:
    """Proto JSON, as this API reads it, takes one message where a list of them is due."""
    return {
        "anyOf": [
            {"type": "array", "items": {"$ref": f"#/$defs/{name}"}},
            {"$ref": f"#/$defs/{name}"},
            {"type": "null"},
        ]
    }


def nullable(name: str) -> Schema:
    return {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}


def response() -> tuple[Schema, dict[str, Schema]]:
    defs = definitions([types.GenerateContentResponse], lenient=False)
    answer = defs.pop("GenerateContentResponse")
    fields = answer["properties"]
    for own in ("sdkHttpResponse", "automaticFunctionCallingHistory", "parsed"):
        fields.pop(own, None)
    return {"type": "object", "properties": fields}, defs


ERROR: Schema = {
    "type": "object",
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "status": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "@type": {"type": "string"},
                    "reason": {"type": "string"},
                    "domain": {"type": "string"},
                    "metadata": {"type": "object"},
                    "retryDelay": {"type": "string"},
                    "fieldViolations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
                        },
                    },
                    "violations": {"type": "array", "items": {"type": "object"}},
                    "links": {"type": "array", "items": {"type": "object"}},
                    "detail": {"type": "string"},
                },
            },
        },
    },
    "required": ["message"],
}


def main() -> None:
    """Writes the four files."""
    schema, defs = request()
    write("request.json", "A generateContent request", schema, defs)
    schema, defs = response()
    write("response.json", "A generateContent answer", schema, defs)
    failed = schema | {"properties": {**schema["properties"], "error": {"$ref": "#/$defs/Status"}}}
    write("event.json", "One chunk of a streamGenerateContent answer", failed, defs | {"Status": ERROR})
    envelope = {"type": "object", "properties": {"error": {"$ref": "#/$defs/Status"}}, "required": ["error"]}
    write("error.json", "An error of the API", envelope, {"Status": ERROR})


if __name__ == "__main__":
    main()
