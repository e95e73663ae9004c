"""Write schemas/formats/openai.responses/*.json from the types of the installed official SDK.

Run by hand after an SDK update: ``python tests/tools/schema_openai_responses.py``. Facts (names, types, what is
required) come from the SDK; documentation text is left behind. What the API accepts beyond its SDK's types, and the
ranges its reference states, are the overlays below.
"""

import json
import re
from pathlib import Path
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

Schema = dict[str, Any]
OUT = Path(__file__).parents[2] / "schemas" / "formats" / "openai.responses"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NOISE = {"title", "description", "default", "discriminator", "additionalProperties", "examples"}
KEPT_ENUMS = {"type", "role"}  # every other closed list may grow without making a request invalid
NULL: Schema = {"type": "null"}

# Required by the SDK's types, optional on the wire: clients and compatible providers leave them out.
NOT_REQUIRED: dict[str, set[str]] = {
    "FunctionTool": {"parameters", "strict"},
    "ToolFunction": {"parameters", "strict"},
    "Mcp": {"server_label"},
    "ResponseOutputMessage": {"id", "status"},
    "ResponseOutputText": {"annotations", "logprobs"},
    "ResponseReasoningItem": {"id"},
    "ResponseFunctionWebSearch": {"action", "id", "status"},
    "ResponseFileSearchToolCall": {"id", "status"},
    "ResponseCodeInterpreterToolCall": {"code", "container_id", "outputs"},
    "ImageGenerationCall": {"id", "result", "status"},
    "ResponseInputImage": {"detail"},
    "ResponseInputImageContent": {"detail"},
}
# Required of a response by the SDK's types, left out by providers that speak the format.
NOT_SENT: dict[str, set[str]] = {
    "ResponseUsage": {"input_tokens_details", "output_tokens_details"},
    "InputTokensDetails": {"cache_write_tokens"},
    "ResponseFunctionWebSearch": {"action"},
    "ResponseCodeInterpreterToolCall": {"code", "container_id", "outputs"},
    "ActionSearch": {"query"},
    "AnnotationURLCitation": {"end_index", "start_index"},
    "ResponseTextDeltaEvent": {"logprobs"},
    "ResponseTextDoneEvent": {"logprobs"},
    "ResponseFunctionCallArgumentsDoneEvent": {"name"},
}
RANGES: dict[str, Schema] = {
    "temperature": {"minimum": 0, "maximum": 2},
    "top_p": {"minimum": 0, "maximum": 1},
    "top_logprobs": {"minimum": 0, "maximum": 20},
    "max_output_tokens": {"minimum": 1},
    "max_tool_calls": {"minimum": 1},
}
# Fields that compatible providers document beside the SDK's.
EXTRA_USAGE: Schema = {
    "cost": {"type": "number"},  # OpenRouter, USD
    "cost_details": {"type": "object"},
    "is_byok": {"type": "boolean"},
    "cost_in_usd_ticks": {"type": "integer"},  # xAI, 1e-10 USD
    "num_sources_used": {"type": "integer"},
    "num_server_side_tools_used": {"type": "integer"},
    "server_side_tool_usage_details": {"type": "object"},
}
SIGNED: Schema = {  # where Google's OpenAI-compatible API has a call's thought signature
    "type": "object",
    "properties": {"google": {"type": "object", "properties": {"thought_signature": {"type": "string"}}}},
}
CALLS = ("ResponseFunctionToolCall", "ResponseCustomToolCall")
ERROR: Schema = {
    "$schema": DIALECT,
    "title": "openai.responses: error",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"anyOf": [{"type": "string"}, NULL]},
                "param": {"anyOf": [{"type": "string"}, NULL]},
                "code": {"anyOf": [{"type": "string"}, {"type": "integer"}, NULL]},
                "metadata": {"type": "object"},
            },
        }
    },
}


def clean(node: Any, key: str | None = None) -> Any:
    """The schema without prose and closed lists; ``key`` is the property it describes."""
    if isinstance(node, list):
        return [clean(item, key) for item in node]
    if not isinstance(node, dict):
        return node
    if key not in KEPT_ENUMS and ("enum" in node or isinstance(node.get("const"), str)):
        return {"type": "string"}
    out: Schema = {}
    for name, value in node.items():
        if name == "additionalProperties" and isinstance(value, dict):
            out[name] = clean(value)
        elif name == "properties":
            out[name] = {prop: clean(schema, prop) for prop, schema in value.items()}
        elif name == "$defs":
            out[name] = {prop: clean(schema) for prop, schema in value.items()}
        elif name == "oneOf":
            out["anyOf"] = clean(value, key)
        elif name in {"const", "enum"}:
            out[name] = value
        elif name not in NOISE:
            out[name] = clean(value, key)
    if "const" in out or "enum" in out:
        out.pop("type", None)
    return out


def distinct(options: list[Schema]) -> list[Schema]:
    seen: list[Schema] = []
    for option in options:
        for one in option["anyOf"] if set(option) == {"anyOf"} else [option]:
            if one not in seen:
                seen.append(one)
    return seen


def discriminators(schema: Schema, defs: Schema) -> list[str] | None:
    """The values of ``type`` that a branch of a union stands for; None where it is no discriminated object."""
    target = defs.get(schema["$ref"].rsplit("/", 1)[1], {}) if "$ref" in schema else schema
    kind = target.get("properties", {}).get("type", {})
    kinds = kind.get("anyOf", [kind])
    values = [value for one in kinds for value in ([one["const"]] if "const" in one else one.get("enum", []))]
    return values or None


def open_unions(node: Any, defs: Schema) -> None:
    """Let a discriminated union accept objects of a type it does not know."""
    if isinstance(node, list):
        for item in node:
            open_unions(item, defs)
    elif isinstance(node, dict):
        for value in node.values():
            open_unions(value, defs)
        if "anyOf" in node:
            node["anyOf"] = distinct(node["anyOf"])
            found = [(branch, discriminators(branch, defs)) for branch in node["anyOf"]]
            known = sorted({value for _, values in found for value in values or []})
            if sum(values is not None for _, values in found) > 1:
                other = {"type": {"type": "string", "not": {"enum": known}}}
                node["anyOf"].append({"type": "object", "required": ["type"], "properties": other})
            if len(node["anyOf"]) == 1:
                node.update(node.pop("anyOf")[0])


def nullable(defs: list[Schema]) -> None:
    """Let every optional property be null, as the API does."""
    for schema in defs:
        for name, value in schema.get("properties", {}).items():
            if name not in schema.get("required", []) and value and name != "type":
                options = value["anyOf"] if set(value) == {"anyOf"} else [value]
                if NULL not in options:
                    schema["properties"][name] = {"anyOf": [*options, NULL]}


def short_names(defs: Schema) -> dict[str, str]:
    names: dict[str, str] = {}
    for name in defs:
        short = re.sub(r"(Param)+$", "", name.rsplit("__", 1)[-1])
        while short in names.values():
            short += "X"
        names[name] = short
    return names


def build(kind: Any, title: str, relax: dict[str, set[str]]) -> Schema:
    raw = TypeAdapter(kind).json_schema(mode="validation")
    names = short_names(raw["$defs"])
    text = re.sub(r'"#/\$defs/([^"]+)"', lambda m: f'"#/$defs/{names[m[1]]}"', json.dumps(raw))
    schema: Schema = clean(json.loads(text))
    schema["$defs"] = {names[name]: value for name, value in schema["$defs"].items()}
    for name, dropped in relax.items():
        for found in [value for key, value in schema["$defs"].items() if re.fullmatch(rf"{name}X*", key)]:
            found["required"] = [one for one in found.get("required", []) if one not in dropped]
    for name in CALLS:
        schema["$defs"][name]["properties"]["extra_content"] = SIGNED
    open_unions(schema, schema["$defs"])
    return {"$schema": DIALECT, "title": title, **schema}


def request() -> Schema:
    schema = build(ResponseCreateParamsNonStreaming, "openai.responses: request", NOT_REQUIRED)
    schema["required"] = ["model", "input"]
    properties = schema["properties"]
    properties["model"] = {"type": "string"}
    properties["stream"] = {"type": "boolean"}
    properties["logprobs"] = {"type": "boolean"}  # xAI; the rest OpenRouter
    schema["$defs"]["ReasoningX"]["properties"].update(max_tokens={"type": "integer"}, enabled={"type": "boolean"})
    for name, limits in RANGES.items():
        kind = "integer" if "max_" in name or "logprobs" in name else "number"
        properties[name] = {"type": kind, **limits}
    choice = properties["tool_choice"]["anyOf"]
    choice[choice.index({"type": "string"})] = {"enum": ["none", "auto", "required"]}
    easy = schema["$defs"]["EasyInputMessage"]["properties"]["content"]
    # Output text given back without its item's id and status: accepted by the API, absent from the SDK's types.
    parts = next(option["items"] for option in easy["anyOf"] if option.get("type") == "array")
    parts["anyOf"][:0] = [{"$ref": "#/$defs/ResponseOutputText"}, {"$ref": "#/$defs/ResponseOutputRefusal"}]
    known = [value for one in parts["anyOf"][:-1] for value in discriminators(one, schema["$defs"]) or []]
    parts["anyOf"][-1]["properties"]["type"]["not"]["enum"] = sorted(known)
    nullable([schema, *schema["$defs"].values()])
    return schema


def response() -> Schema:
    schema = build(Response, "openai.responses: response", NOT_SENT)
    extra(schema, schema)
    return schema


def event() -> Schema:
    schema = build(ResponseStreamEvent, "openai.responses: stream event", NOT_SENT)
    extra(schema, schema["$defs"]["Response"])
    # OpenAI sends more of an error's fields than its type has; some providers nest them.
    error = schema["$defs"]["ResponseErrorEvent"]
    error["required"] = ["type"]
    error["properties"]["error"] = {"$ref": "#/$defs/StreamError"}
    schema["$defs"]["StreamError"] = {
        "type": "object",
        "properties": {name: {"anyOf": [{"type": "string"}, NULL]} for name in ("type", "code", "message", "param")},
    }
    for one in schema["$defs"].values():  # obfuscation: random filling against length side channels
        if str(one.get("properties", {}).get("type", {}).get("const", "")).endswith(".delta"):
            one["properties"]["obfuscation"] = {"type": "string"}
    return schema


def extra(schema: Schema, answer: Schema) -> None:
    schema["$defs"]["ResponseUsage"]["properties"].update(EXTRA_USAGE)
    unnamed: Schema = {"anyOf": [{"type": "string"}, NULL]}
    answer["properties"].update(
        store={"anyOf": [{"type": "boolean"}, NULL]},
        presence_penalty={"anyOf": [{"type": "number"}, NULL]},
        frequency_penalty={"anyOf": [{"type": "number"}, NULL]},
        output_text=unnamed,
        provider=unnamed,
        citations={"type": "array"},
    )


def compact(schema: Schema) -> str:
    """One line a definition: readable in a diff, small."""
    defs = schema.pop("$defs", None)
    head = json.dumps(schema, indent=1)
    if defs is None:
        return head + "\n"
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(defs[name])}" for name in sorted(defs))
    return head[:-2] + ',\n "$defs": {\n' + rows + "\n }\n}\n"


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    made = {"request": request(), "response": response(), "event": event(), "error": dict(ERROR)}
    for name, schema in made.items():
        (OUT / f"{name}.json").write_text(compact(schema))


if __name__ == "__main__":
    main()
