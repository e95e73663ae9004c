"""Chat requests out: tools, the choice among them, and settings."""

from __future__ import annotations

from typing import Any, Final

from tests.bench.handwritten.parts import NUMBERS, Map, Refused, lose, own

NAME: Final = "openai.chat"
_SEARCH: Final = {
    "max_uses": "max_uses",
    "allowed_domains": "allowed_domains",
    "blocked_domains": "excluded_domains",
    "context_size": "search_context_size",
}
_ONE_INPUT: Final[Map] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def mark(block: Map, made: Map, profile: Map) -> None:
    """A cache mark, where the provider's chat API has them."""
    mark = block.get("cache")
    if type(mark) is dict and profile.get("cache") == "cache_control" and made["type"] != "refusal":
        made["cache_control"] = {"type": "ephemeral", "ttl": mark["ttl"]} if "ttl" in mark else {"type": "ephemeral"}


def offer(request: Map, body: Map, profile: Map, ctx: Map) -> None:
    tools = request.get("tools")
    if not tools:
        return
    router = profile.get("web_search") == "openrouter"
    offered = []
    kinds = {}
    for tool in tools:
        if "name" in tool and tool["name"] not in kinds:
            kinds[tool["name"]] = tool["type"]
        if tool["type"] == "web_search" and not router:
            body.setdefault("web_search_options", _search(tool))
        elif (made := _tool(tool, profile, ctx)) is not None:
            offered.append(made)
    if not offered:
        return
    body["tools"] = offered
    choice = request.get("tool_choice")
    if type(choice) is dict and (made := _choice(choice, kinds, profile, ctx)) is not None:
        body["tool_choice"] = made
    if "parallel_tools" in request:
        body["parallel_tool_calls"] = request["parallel_tools"]


def _search(tool: Map) -> Map:
    """Web search as an option of the request."""
    made: Map = {"search_context_size": tool["context_size"]} if "context_size" in tool else {}
    if type(near := tool.get("user_location")) is dict:
        made["user_location"] = {"type": "approximate", "approximate": near}
    return made


def _tool(tool: Map, profile: Map, ctx: Map) -> Map | None:
    kind = tool["type"]
    if kind == "function":
        function = {"name": tool["name"]}
        if type(description := tool.get("description")) is str:
            function["description"] = description
        if type(parameters := tool.get("parameters")) is dict:
            function["parameters"] = parameters
        if "strict" in tool:
            function["strict"] = tool["strict"]
        made: Map = {**own(tool, NAME), "type": "function", "function": function}
        if "cache" in tool:
            mark(tool, made, profile)
        return made
    if kind == "custom":
        custom = {"name": tool["name"]}
        if type(description := tool.get("description")) is str:
            custom["description"] = description
        if profile.get("custom_tools") is False:
            return {"type": "function", "function": {**custom, "parameters": _ONE_INPUT}}
        if "format" in tool:
            format = tool["format"]
            if type(format) is dict and format.get("type") == "grammar":
                format = {"type": "grammar", "grammar": {key: format[key] for key in format if key != "type"}}
            custom["format"] = format
        return {"type": "custom", "custom": custom}
    if kind == "web_search":
        asked = {**own(tool, NAME), **{key: tool[name] for name, key in _SEARCH.items() if name in tool}}
        if type(near := tool.get("user_location")) is dict:
            asked["user_location"] = {"type": "approximate", **near}
        return {"type": "openrouter:web_search", "parameters": asked} if asked else {"type": "openrouter:web_search"}
    if kind == "mcp":
        raise Refused("this model's provider does not reach MCP servers by itself", tool)
    if tool.get("format") == NAME:
        return tool["data"]
    if tool.get("name") in ("tool_search", "tool_search_tool_bm25", "tool_search_tool_regex"):
        lose(ctx, f"the tool {tool['name']}", tool)
        return None
    raise Refused(f"this model's provider does not run the tool {tool.get('name')}", tool)


def _choice(choice: Map, kinds: dict[str, str], profile: Map, ctx: Map) -> Any:
    customs = profile.get("custom_tools") is not False

    def named(name: Any, *, custom: bool) -> Map:
        kind = "custom" if custom and customs else "function"
        return {"type": kind, kind: {} if name is None else {"name": name}}

    mode = choice.get("mode")
    if mode in ("auto", "none", "required"):
        return mode
    if mode == "tool":
        if choice.get("kind", "function") not in ("function", "custom"):
            lose(ctx, f"{choice['kind']} cannot be forced here", choice)
            return None
        name = choice.get("name")
        return named(name, custom=choice.get("kind") == "custom" or kinds.get(name) == "custom")
    if mode == "allowed":
        tools = [named(name, custom=kinds.get(name) == "custom") for name in choice.get("names") or ()]
        force = "required" if choice.get("required") is True else "auto"
        return {"type": "allowed_tools", "allowed_tools": {"mode": force, "tools": tools}}
    raise Refused(f"unsupported tool choice {mode!r}", choice)


def output_to(output: Map, body: Map, profile: Map, ctx: Map) -> None:
    if type(format := output.get("format")) is dict:
        kind = format.get("type")
        if kind == "json_schema":
            name = format.get("name")
            schema: Map = {"name": "response" if name is None else name}
            for key in ("description", "schema", "strict"):
                if key in format:
                    schema[key] = format[key]
            body["response_format"] = {"type": kind, "json_schema": schema}
        elif kind in ("text", "json"):
            body["response_format"] = {"type": "text" if kind == "text" else "json_object"}
        else:
            raise Refused(f"unsupported output format {kind!r}", format)
    if "verbosity" in output:
        body["verbosity"] = output["verbosity"]
    told = []
    for mode in output.get("modalities") or ():
        if mode in ("text", "audio") or profile.get("image_output") is True:
            told.append(mode)
        else:
            lose(ctx, f"output.modalities: {mode}", output)
    if told:
        body["modalities"] = told
    for key in ("audio", "prediction"):
        if key in output:
            body[key] = output[key]


def _effort(reasoning: Map) -> str | None:
    """How hard to think, in this API's words."""
    effort, mode, budget = reasoning.get("effort"), reasoning.get("mode"), reasoning.get("budget")
    if type(effort) is str:
        return effort
    if mode == "off" or (budget == 0 and budget is not False):
        return "none"
    if type(budget) in NUMBERS:
        steps = ((1024, "minimal"), (4096, "low"), (16384, "medium"), (32768, "high"))
        return next((word for most, word in steps if budget < most), "xhigh")
    return "medium" if mode in ("on", "adaptive") else None


def reason_to(reasoning: Map, body: Map, profile: Map) -> None:
    style = profile.get("reasoning") or "effort"
    effort, budget = _effort(reasoning), reasoning.get("budget")
    said = type(reasoning.get("effort")) is str
    if effort is not None and (
        style == "effort" or (style == "thinking" and effort != "none" and (said or type(budget) in NUMBERS))
    ):
        body["reasoning_effort"] = effort
    if style == "thinking":
        body["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
    if style != "openrouter":
        return
    made: Map = {"effort": reasoning["effort"]} if "effort" in reasoning else {}
    if "budget" in reasoning and "effort" not in reasoning:
        made["max_tokens"] = budget
    if (mode := reasoning.get("mode")) is not None:
        made["enabled"] = mode != "off"
    if reasoning.get("show") is False:
        made["exclude"] = True
    if "summary" in reasoning:
        made["summary"] = reasoning["summary"]
    body["reasoning"] = made
