"""Messages requests out: tools, and the choice among them."""

from __future__ import annotations

from typing import Any, Final

from nexeon.mapping.functions import to_json
from tests.bench.handwritten.messages_parts import NAME, mark
from tests.bench.handwritten.parts import NOTHING, Map, Refused, fitting, lose, own

_ONE_INPUT: Final[Map] = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_SERVED: Final = {
    "code_execution": "code_execution_20250825",
    "code_interpreter": "code_execution_20250825",
    "web_fetch": "web_fetch_20250910",
}
_RUN_AS: Final = {"code_interpreter": "code_execution"}
_UNSAYABLE: Final = (
    *('"additionalProperties":{', '"additionalProperties":true', '"patternProperties":', '"prefixItems":', '"not":{'),
    *('"if":{', '"contains":{'),
)


def tools_of(request: Map, profile: Map, ctx: Map) -> list[Map]:
    """A choice among some is those tools alone; so is one that this model cannot be forced to."""
    choice = request.get("tool_choice") or NOTHING
    only: Any = None
    if choice:
        mode = choice.get("mode")
        if mode == "allowed":
            only = choice.get("names")
        elif mode == "tool" and profile.get("forced_tools") is False:
            only = [choice["name"]] if "name" in choice else []
    tools = []
    for tool in request.get("tools") or ():
        if only is None or tool.get("name") in only:
            made = _tool(tool, profile, ctx)
            if made is not None:
                tools.append(made)
    return tools


def _tool(tool: Map, profile: Map, ctx: Map) -> Map | None:
    kind = tool["type"]
    if kind == "function":
        made: Map = {"name": fitting(tool["name"], 128)}
        if type(description := tool.get("description")) is str:
            made["description"] = description
        parameters = tool.get("parameters")
        if tool.get("strict") is True and profile.get("structured_output") is not False and closable(parameters):
            raise NotImplementedError("a closed schema")
        if type(parameters) is not dict:
            parameters = {"type": "object", "properties": {}}
        made["input_schema"] = parameters if "type" in parameters else {"type": "object", **parameters}
    elif kind == "custom":
        made = {"name": fitting(tool["name"], 128)}
        if type(description := tool.get("description")) is str:
            made["description"] = description
        made["input_schema"] = _ONE_INPUT
    elif kind == "web_search":
        made = {"type": profile.get("web_search") or "web_search_20250305", "name": "web_search"}
        for key in ("max_uses", "allowed_domains", "blocked_domains"):
            if key in tool:
                made[key] = tool[key]
        if "user_location" in tool:
            near = tool["user_location"]
            made["user_location"] = {"type": "approximate", **near} if type(near) is dict else near
    elif kind == "mcp":
        raise NotImplementedError("MCP servers")
    else:
        return _served(tool, ctx)
    if "cache" in tool:
        mark(tool, made)
    if "extra" in tool and kind != "custom":
        made.update(own(tool, NAME))
    return made


def _served(tool: Map, ctx: Map) -> Map | None:
    """A tool that this API runs itself."""
    if tool.get("format") == NAME:
        made = dict(tool["data"])
        if "cache" in tool:
            mark(tool, made)
        return made
    name = tool.get("name")
    if name in _SERVED:
        return {"type": _SERVED[name], "name": _RUN_AS.get(name, name)}
    if name == "tool_search":
        lose(ctx, "the search among tools", tool)
        return None
    raise Refused(f"this model's provider does not run the tool {name}", tool)


def closable(schema: Any) -> bool:
    """Whether a schema can be one that allows nothing beyond what it names."""
    if type(schema) is not dict:
        return False
    if not any(key in schema for key in ("properties", "anyOf", "$ref")) and schema.get("type") != "array":
        return False
    text = to_json(schema)
    return not any(word in text for word in _UNSAYABLE)


def choice_of(request: Map, tools: list[Map], declared: list[Map], profile: Map) -> Map | None:
    if not tools:
        return {"type": "none"} if declared else None
    parallel = request.get("parallel_tools")
    alone: Map = {"disable_parallel_tool_use": not parallel} if type(parallel) is bool else {}
    choice = request.get("tool_choice")
    if not choice:
        return {"type": "auto", "disable_parallel_tool_use": True} if parallel is False else None
    free = profile.get("forced_tools") is False
    mode = choice.get("mode")
    if mode == "none":
        return {"type": "none"}
    if mode == "auto" or (mode == "tool" and free):
        return {"type": "auto", **alone}
    if mode == "required":
        return {"type": "auto" if free else "any", **alone}
    if mode == "tool":
        kind, name = choice.get("kind"), choice.get("name")
        if kind in _SERVED:
            name = _RUN_AS.get(kind, kind)
        return {"type": "tool", "name": fitting(kind if name is None else name, 128), **alone}
    if mode == "allowed":
        return {"type": "any" if choice.get("required") and not free else "auto", **alone}
    raise Refused(f"unsupported tool choice {mode!r}", choice)
