"""Chat requests in: tools and settings."""

from __future__ import annotations

from typing import Any, Final

from tests.bench.handwritten.parts import NOTHING, NUMBERS, Map, Refused, empty, lose, rows

NUMERIC: Final = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed")
OUTPUT: Final = (("verbosity", str), ("modalities", list), ("audio", dict), ("prediction", dict))
_TOOL: Final = frozenset({"type", "function", "cache_control"})
_PLACE: Final = ("city", "region", "country", "timezone")


def rest_of(part: Map, known: frozenset[str]) -> Map | None:
    """The fields that nobody knows."""
    if part.keys() <= known:
        return None
    return {key: value for key, value in part.items() if key not in known}


def mark(part: Map, made: Map) -> None:
    """The cache mark of a part or a tool."""
    if type(mark := part.get("cache_control")) is dict:
        made["cache"] = {"ttl": mark["ttl"]} if mark.get("ttl") in ("5m", "1h") else {}
    elif type(part.get("prompt_cache_breakpoint")) is dict:
        made["cache"] = {}


def tools_of(body: Map) -> list[Map]:
    tools = [_tool(tool, body) for tool in rows(body.get("tools"), "tools", body)]
    for function in rows(body.get("functions"), "functions", body):
        fields = {key: function[key] for key in ("name", "description", "parameters") if key in function}
        tools.append({"type": "function", **fields})
    if type(options := body.get("web_search_options")) is dict:
        made: Map = {"type": "web_search"}
        if "search_context_size" in options:
            made["context_size"] = options["search_context_size"]
        location = options.get("user_location")
        if type(location) is dict and type(near := location.get("approximate")) is dict:
            made["user_location"] = {key: near[key] for key in _PLACE if key in near}
        tools.append(made)
    return tools


def _tool(tool: Any, body: Map) -> Map:
    kind = tool.get("type") if type(tool) is dict else None
    if kind is None:
        raise Refused("a tool has a type", tool)
    if kind == "function":
        made: Map = {"type": "function"}
        function = tool.get("function")
        if type(function) is dict:
            for key in ("name", "description", "parameters", "strict"):
                if key in function:
                    made[key] = function[key]
        mark(tool, made)
        if rest := rest_of(tool, _TOOL):
            made["extra"] = {"openai.chat": rest}
        return made
    if kind == "custom":
        custom = tool.get("custom") or NOTHING
        made = {"type": "custom", **{key: custom[key] for key in ("name", "description") if key in custom}}
        if "format" in custom:
            format = custom["format"]
            grammar = format.get("grammar") if type(format) is dict else None
            made["format"] = {"type": "grammar", **grammar} if type(grammar) is dict else format
        mark(tool, made)
        return made
    if kind == "openrouter:web_search":
        return _web_search(tool.get("parameters") or NOTHING)
    return {"type": "server", "name": kind, "format": "openai.chat", "data": tool}


_SEARCH: Final = {
    "max_uses": "max_uses",
    "allowed_domains": "allowed_domains",
    "blocked_domains": "excluded_domains",
    "context_size": "search_context_size",
}


def _web_search(given: Map) -> Map:
    made: Map = {"type": "web_search"}
    for name, key in _SEARCH.items():
        if key in given:
            made[name] = given[key]
    if type(near := given.get("user_location")) is dict:
        made["user_location"] = {key: near[key] for key in _PLACE if key in near}
    if rest := rest_of(given, frozenset({*_SEARCH.values(), "user_location"})):
        made["extra"] = {"openai.chat": rest}
    return made


def choice_of(body: Map, ctx: Map) -> Map | None:
    choice = body.get("tool_choice")
    if not empty(choice):
        if type(choice) is str:
            return {"mode": choice}
        made = _chosen(choice if type(choice) is dict else NOTHING, ctx)
        if made is not None:
            return made
    legacy = body.get("function_call")
    if type(legacy) is str:
        return {"mode": legacy}
    if type(legacy) is dict:
        return {"mode": "tool", "name": legacy["name"]} if "name" in legacy else {"mode": "tool"}
    return None


def _chosen(choice: Map, ctx: Map) -> Map | None:
    kind = choice.get("type")
    if kind == "function" or kind == "custom":
        made: Map = {"mode": "tool"} if kind == "function" else {"mode": "tool", "kind": "custom"}
        if "name" in (inner := choice.get(kind) or NOTHING):
            made["name"] = inner["name"]
        return made
    if kind == "allowed_tools":
        allowed = choice.get(kind) or NOTHING
        names = []
        for tool in allowed.get("tools") or ():
            for inner in (tool.get("function"), tool.get("custom"), tool):
                if type(inner) is dict and "name" in inner:
                    names.append(inner["name"])
                    break
        return {"mode": "allowed", "required": allowed.get("mode") == "required", "names": names}
    lose(ctx, f"tool choice {kind}", choice)
    return None


# settings


def sampling_of(body: Map) -> Map:
    sampling = {key: body[key] for key in NUMERIC if key in body and type(body[key]) in NUMBERS}
    if type(bias := body.get("logit_bias")) is dict:
        sampling["logit_bias"] = bias
    if type(chances := body.get("logprobs")) is bool:
        sampling["logprobs"] = chances
    for key in ("top_logprobs", "n"):
        if type(value := body.get(key)) in NUMBERS:
            sampling[key] = value
    return sampling


def limits_of(body: Map) -> Map:
    limits: Map = {}
    if type(most := body.get("max_completion_tokens")) in NUMBERS or type(most := body.get("max_tokens")) in NUMBERS:
        limits["max_tokens"] = most
    stop = body.get("stop")
    if type(stop) is str:
        limits["stop"] = [stop]
    elif type(stop) is list:
        limits["stop"] = stop
    return limits


def output_of(body: Map, ctx: Map) -> Map:
    output: Map = {}
    if type(format := body.get("response_format")) is dict:
        kind = format.get("type")
        if kind == "json_schema":
            inner = format.get(kind) or NOTHING
            made: Map = {"type": kind}
            if "name" in inner:
                made["name"] = inner["name"]
            if type(description := inner.get("description")) is str:
                made["description"] = description
            schema = inner.get("schema")
            made["schema"] = {} if schema is None else schema
            if "strict" in inner:
                made["strict"] = inner["strict"]
            output["format"] = made
        elif kind == "text" or kind == "json_object":
            output["format"] = {"type": "text" if kind == "text" else "json"}
        else:
            lose(ctx, f"response_format {kind}", format)
    for name, of in OUTPUT:
        if type(value := body.get(name)) is of:
            output[name] = value
    return output


def reasoning_of(body: Map) -> Map:
    asked: Map = {}
    if type(effort := body.get("reasoning_effort")) is str:
        asked["effort"] = effort
        if effort != "none":
            asked["show"] = True
    elif type(given := body.get("reasoning")) is dict:
        if type(effort := given.get("effort")) is str:
            asked["effort"] = effort
        if type(most := given.get("max_tokens")) in NUMBERS:
            asked["budget"] = most
        if type(on := given.get("enabled")) is bool:
            asked["mode"] = "on" if on else "off"
        if type(summary := given.get("summary")) is str:
            asked["summary"] = summary
        asked["show"] = given.get("exclude") is not True
    elif type(given := body.get("thinking")) is dict:
        off = given.get("type") == "disabled"
        asked["mode"] = "off" if off else "on"
        if type(most := given.get("budget_tokens")) in NUMBERS:
            asked["budget"] = most
        if not off:
            asked["show"] = True
    return asked
