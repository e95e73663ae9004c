"""What a request says, in words that no format owns."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from .cases import CHAT, GEMINI, MESSAGES, RESPONSES

Body = dict[str, Any]


@dataclass
class Said:
    """`results` name their call by its place among the calls; `media` are hashes of bytes, or URLs; `shown`: thoughts
    are asked for from a model that thinks unless told not to."""

    system: list[str] = field(default_factory=list)
    user: list[str] = field(default_factory=list)
    assistant: list[str] = field(default_factory=list)
    media: list[str] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    results: list[tuple[int | None, str]] = field(default_factory=list)
    tools: dict[str, tuple[str, Any]] = field(default_factory=dict)
    choice: Any = "auto"
    parallel: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    shown: bool = False

    def called(self, id: str | None, name: str, arguments: Any) -> None:
        self.ids.append(id or f"#{len(self.ids)}")
        self.calls.append((name, _parsed(arguments)))

    def answered(self, id: str | None, text: str, name: str | None = None) -> None:
        place: int | None = None
        if id in self.ids:
            place = len(self.ids) - 1 - self.ids[::-1].index(id)
        elif name is not None:  # without ids: the first call of that name without a result
            taken = {place for place, _ in self.results}
            named = [n for n, call in enumerate(self.calls) if call[0] == name and n not in taken]
            place = named[0] if named else None
        self.results.append((place, _plain(text)))

    def set(self, name: str, value: Any) -> None:
        if value is not None:
            self.settings[name] = value


def read_request(format: str, body: Body) -> Said:
    return _READERS[format](body)


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except ValueError:
        return value


def _plain(text: str) -> str:
    """A tool result's text, out of the object that wraps it where results must be objects."""
    value = _parsed(text) if text else text
    if isinstance(value, dict) and len(value) == 1 and (keys := {"output", "result", "error"} & value.keys()):
        value = value[keys.pop()]
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return "".join(text.split())


def _media(said: Said, *, data: str | None = None, media_type: str = "", url: str | None = None) -> None:
    """Bytes or a URL; what is plain text counts as the user's words, however it is wrapped."""
    if url and (found := re.fullmatch(r"data:([^,;]*)[^,]*;base64,(.*)", url, re.S)):
        media_type, data = found[1], found[2]
    if data is None:
        said.media.append(url or "")
        return
    content = base64.urlsafe_b64decode(data.replace("+", "-").replace("/", "_") + "==")
    if media_type.startswith("text/"):
        said.user.append(content.decode())
    else:
        said.media.append(hashlib.sha256(content).hexdigest()[:16])


_SPELLING = {"any_of": "anyOf", "oneOf": "anyOf", "additional_properties": "additionalProperties"}


def schema_facts(schema: Any) -> Any:
    """A JSON Schema without what formats spell differently, and without the closing of objects that some demand.

    A description may end with a line of JSON: constraints that the format has no fields for.
    """
    if isinstance(schema, list):
        return [schema_facts(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    description = schema.get("description")
    if isinstance(description, str):
        told, _, line = description.rpartition("\n")
        if line.startswith("{") and isinstance(_parsed(line), dict):
            rest = {key: value for key, value in schema.items() if key != "description"}
            schema = {**rest, **_parsed(line), **({"description": told} if told else {})}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str):
            out[key] = value.lower()
        elif key not in ("propertyOrdering", "property_ordering", "$schema") and not (
            key == "additionalProperties" and value is False
        ):
            out[_SPELLING.get(key, key)] = schema_facts(value)
    return out


def _tool(said: Said, name: str, description: str | None, schema: Any) -> None:
    if schema in (None, {}):
        schema = {"type": "object", "properties": {}}
    said.tools[name] = (description or "", schema_facts(schema))


def _stops(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


# Chat Completions


def _chat_parts(said: Said, into: list[str], content: Any) -> str:
    if content is None or isinstance(content, str):
        into += [content] if content else []
        return content or ""
    text = ""
    for part in content:
        kind = part["type"]
        if kind == "text":
            into.append(part["text"])
            text += part["text"]
        elif kind in ("image_url", "video_url"):
            _media(said, url=part[kind]["url"])
        elif kind == "input_audio":
            _media(said, data=part["input_audio"]["data"])
        elif kind == "file":
            file = part["file"]
            _media(said, url=file.get("file_id") or file["file_data"])
        elif kind == "refusal":
            into.append(part["refusal"])
    return text


def _chat(body: Body) -> Said:
    said = Said()
    for message in body["messages"]:
        role = message["role"]
        if role == "tool":
            texts: list[str] = []
            said.answered(message["tool_call_id"], _chat_parts(said, texts, message["content"]))
            continue
        into = {"system": said.system, "developer": said.system, "user": said.user, "assistant": said.assistant}[role]
        _chat_parts(said, into, message.get("content"))
        for call in message.get("tool_calls") or ():
            said.called(call["id"], call["function"]["name"], call["function"]["arguments"])
    for tool in body.get("tools") or ():
        if tool["type"] == "function":
            function = tool["function"]
            _tool(said, function["name"], function.get("description"), function.get("parameters"))
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        named = choice.get("function") or choice.get("custom")
        choice = named["name"] if named else _allowed(choice.get("allowed_tools") or {})
    said.choice = choice
    said.parallel = body.get("parallel_tool_calls") is not False
    for name in ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty"):
        said.set(name, body.get(name))
    said.set("max_tokens", body.get("max_completion_tokens", body.get("max_tokens")))
    said.set("stop", _stops(body.get("stop")))
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        said.set("schema", schema_facts(wanted["json_schema"].get("schema")))
    elif wanted.get("type") == "json_object":
        said.set("schema", "any")
    wish = body.get("reasoning") or {}
    said.set("reasoning", _wish(body.get("reasoning_effort") or wish.get("effort"), wish))
    thinking = (body.get("thinking") or {}).get("type")
    said.set("reasoning", {"enabled": True, "disabled": False}.get(thinking))
    return said


def _wish(effort: str | None, wish: Body) -> bool | None:
    if effort is not None:
        return effort != "none"
    return True if wish.get("max_tokens") else wish.get("enabled")


def _allowed(choice: Body) -> Any:
    names = sorted((tool.get("function") or tool).get("name", "") for tool in choice.get("tools") or ())
    return (choice.get("mode"), names)


# Responses


def _responses_parts(said: Said, into: list[str], content: Any) -> str:
    if isinstance(content, str):
        into.append(content)
        return content
    text = ""
    for part in content or ():
        kind = part["type"]
        if kind in ("input_text", "output_text", "text"):
            into.append(part["text"])
            text += part["text"]
        elif kind == "refusal":
            into.append(part["refusal"])
        elif kind == "input_image":
            _media(said, url=part.get("file_id") or part["image_url"])
        elif kind in ("input_audio", "input_video"):  # one provider's own
            held = part.get("input_audio") or {}
            _media(said, data=held.get("data"), url=part.get("video_url"))
        elif kind == "input_file":
            _media(said, url=part.get("file_id") or part.get("file_data") or part.get("file_url"))
    return text


def _responses(body: Body) -> Said:
    said = Said()
    if body.get("instructions"):
        said.system.append(body["instructions"])
    given = body.get("input") or []
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        kind = item.get("type", "message")
        if kind == "message":
            roles = {"system": said.system, "developer": said.system, "user": said.user, "assistant": said.assistant}
            _responses_parts(said, roles[item["role"]], item["content"])
        elif kind == "function_call":
            said.called(item["call_id"], item["name"], item["arguments"])
        elif kind == "function_call_output":
            said.answered(item["call_id"], _responses_parts(said, [], item["output"]))
    for tool in body.get("tools") or ():
        if tool["type"] == "function":
            _tool(said, tool["name"], tool.get("description"), tool.get("parameters"))
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        choice = _allowed(choice) if choice["type"] == "allowed_tools" else choice.get("name", choice["type"])
    said.choice = choice
    said.parallel = body.get("parallel_tool_calls") is not False
    for name in ("temperature", "top_p"):
        said.set(name, body.get(name))
    said.set("max_tokens", body.get("max_output_tokens"))
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        said.set("schema", schema_facts(wanted["schema"]))
    elif wanted.get("type") == "json_object":
        said.set("schema", "any")
    wish = body.get("reasoning") or {}
    said.set("reasoning", _wish(wish.get("effort"), wish))
    return said


# Messages


def _messages_parts(said: Said, into: list[str], content: Any) -> str:
    if isinstance(content, str):
        into.append(content)
        return content
    text = ""
    for block in content or ():
        kind = block["type"]
        if kind == "text":
            into.append(block["text"])
            text += block["text"]
        elif kind in ("image", "document"):
            source = block["source"]
            if source["type"] == "text":
                said.user.append(source["data"])
            else:
                kind = source.get("media_type", "")
                _media(said, data=source.get("data"), media_type=kind, url=source.get("url") or source.get("file_id"))
        elif kind == "tool_use":
            said.called(block["id"], block["name"], block["input"])
        elif kind == "tool_result":
            said.answered(block["tool_use_id"], _messages_parts(said, [], block.get("content")))
    return text


def _messages(body: Body) -> Said:
    said = Said()
    _messages_parts(said, said.system, body.get("system"))
    for message in body["messages"]:
        into = {"user": said.user, "assistant": said.assistant, "system": said.system}[message["role"]]
        _messages_parts(said, into, message["content"])
    for tool in body.get("tools") or ():
        if tool.get("type", "custom") == "custom" and "input_schema" in tool:
            _tool(said, tool["name"], tool.get("description"), tool["input_schema"])
    choice = body.get("tool_choice") or {"type": "auto"}
    said.choice = choice.get("name") or {"any": "required"}.get(choice["type"], choice["type"])
    said.parallel = choice.get("disable_parallel_tool_use") is not True
    for name in ("temperature", "top_p", "top_k", "max_tokens"):
        said.set(name, body.get(name))
    said.set("stop", body.get("stop_sequences"))
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    if wanted:
        said.set("schema", schema_facts(wanted["schema"]))
    thinking = (body.get("thinking") or {}).get("type")  # `adaptive`: as the model likes, which is no wish
    said.set("reasoning", True if (body.get("output_config") or {}).get("effort") else None)
    said.set("reasoning", {"enabled": True, "disabled": False}.get(thinking))
    return said


# Gemini


def _get(value: Body, name: str) -> Any:
    """A field in either of the API's spellings."""
    snake = re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)
    return value.get(name, value.get(snake))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _gemini(body: Body) -> Said:
    said = Said()
    for part in _list((_get(body, "systemInstruction") or {}).get("parts")):
        said.system.append(part["text"])
    for content in body["contents"]:
        for part in _list(content["parts"]):
            _gemini_part(said, said.assistant if content.get("role") == "model" else said.user, part)
    for tool in _list(body.get("tools")):
        for declared in _list(_get(tool, "functionDeclarations")):
            schema = _get(declared, "parametersJsonSchema") or declared.get("parameters")
            _tool(said, declared["name"], declared.get("description"), schema)
    calling = _get(_get(body, "toolConfig") or {}, "functionCallingConfig") or {}
    names = _get(calling, "allowedFunctionNames") or []
    mode = {"ANY": "required", "NONE": "none"}.get(calling.get("mode", "AUTO"), "auto")
    said.choice = names[0] if mode == "required" and len(names) == 1 else (mode, sorted(names)) if names else mode
    config = _get(body, "generationConfig") or {}
    for name, setting in (
        ("temperature", "temperature"),
        ("topP", "top_p"),
        ("topK", "top_k"),
        ("maxOutputTokens", "max_tokens"),
        ("stopSequences", "stop"),
        ("seed", "seed"),
        ("presencePenalty", "presence_penalty"),
        ("frequencyPenalty", "frequency_penalty"),
    ):
        said.set(setting, _get(config, name))
    schema = _get(config, "responseJsonSchema") or _get(config, "responseSchema")
    if schema:
        said.set("schema", schema_facts(schema))
    elif _get(config, "responseMimeType") == "application/json":
        said.set("schema", "any")
    thinking = _get(config, "thinkingConfig") or {}
    budget, level = _get(thinking, "thinkingBudget"), _get(thinking, "thinkingLevel")
    said.set("reasoning", budget != 0 if budget is not None else level is not None or None)
    said.shown = _get(thinking, "includeThoughts") is True
    return said


def _gemini_part(said: Said, into: list[str], part: Body) -> None:
    if part.get("thought"):
        return
    if "text" in part:
        into.append(part["text"])
    elif data := _get(part, "inlineData"):
        _media(said, data=data["data"], media_type=_get(data, "mimeType") or "")
    elif data := _get(part, "fileData"):
        _media(said, url=_get(data, "fileUri"))
    elif call := _get(part, "functionCall"):
        said.called(call.get("id"), call["name"], call.get("args") or {})
    elif result := _get(part, "functionResponse"):
        said.answered(result.get("id"), json.dumps(result["response"]), result["name"])
        for inner in result.get("parts") or ():
            _gemini_part(said, into, inner)


_READERS = {CHAT: _chat, RESPONSES: _responses, MESSAGES: _messages, GEMINI: _gemini}
