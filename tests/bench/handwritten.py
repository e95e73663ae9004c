"""The yardstick of the mapping engine: the same hub, written by hand as one would without a mapping language.

Chat requests in and out, Messages requests out, and text events of both. It says what the mappings say of messages,
texts, pictures, tools, calls, results, sampling and limits, keeps what it does not know, and leaves rarer things alone.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

Map = dict[str, Any]

_PLAIN = re.compile("[A-Za-z0-9_-]+")
_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed", "top_logprobs", "n")
_METADATA = {
    "user": "user",
    "safety_identifier": "safety_identifier",
    "service_tier": "service_tier",
    "prompt_cache_key": "cache_key",
    "prompt_cache_retention": "cache_retention",
}
_OUTPUT = {"verbosity": str, "modalities": list, "audio": dict, "prediction": dict}
_KNOWN = frozenset(
    {
        *("model", "messages", "stream", "tools", "tool_choice", "parallel_tool_calls", "logit_bias", "logprobs"),
        *("max_completion_tokens", "max_tokens", "stop", "response_format", "reasoning_effort", "metadata", "store"),
        *("stream_options", *_SAMPLING, *_METADATA, *_OUTPUT),
    }
)
_MESSAGE = frozenset({"role", "content", "name", "tool_calls", "refusal", "reasoning_content"})


# Chat, in


def decode_chat(body: Map) -> Map:
    request: Map = {}
    if "model" in body:
        request["model"] = body["model"]
    if isinstance(stream := body.get("stream"), bool):
        request["stream"] = stream
    turns: list[Map] = []
    results: list[Map] | None = None
    for message in body["messages"]:
        if message.get("role") == "tool":
            if results is None:
                results = []
                turns.append({"role": "user", "blocks": results})
            results.append(_result(message))
        else:
            results = None
            turns.append(_turn(message))
    request["turns"] = turns
    if tools := body.get("tools"):
        request["tools"] = [_tool(tool) for tool in tools]
    if choice := body.get("tool_choice"):
        request["tool_choice"] = _choice(choice)
    if isinstance(parallel := body.get("parallel_tool_calls"), bool):
        request["parallel_tools"] = parallel
    sampling = {name: body[name] for name in _SAMPLING if _number(body.get(name))}
    if isinstance(bias := body.get("logit_bias"), dict):
        sampling["logit_bias"] = bias
    if isinstance(chances := body.get("logprobs"), bool):
        sampling["logprobs"] = chances
    if sampling:
        request["sampling"] = sampling
    if limits := _limits(body):
        request["limits"] = limits
    if output := _output(body):
        request["output"] = output
    if isinstance(effort := body.get("reasoning_effort"), str):
        request["reasoning"] = {"effort": effort}
    if metadata := _metadata(body):
        request["metadata"] = metadata
    options = body.get("stream_options")
    if isinstance(options, dict) and isinstance(options.get("include_usage"), bool):
        request["include_usage"] = options["include_usage"]
    if not body.keys() <= _KNOWN:
        request["extra"] = {"openai.chat": {key: value for key, value in body.items() if key not in _KNOWN}}
    return request


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _limits(body: Map) -> Map:
    limits: Map = {}
    if _number(most := body.get("max_completion_tokens", body.get("max_tokens"))):
        limits["max_tokens"] = most
    stop = body.get("stop")
    if isinstance(stop, str):
        limits["stop"] = [stop]
    elif isinstance(stop, list):
        limits["stop"] = stop
    return limits


def _output(body: Map) -> Map:
    output: Map = {}
    format = body.get("response_format")
    if isinstance(format, dict):
        if format["type"] == "json_schema":
            output["format"] = {"type": "json_schema", **format["json_schema"]}
        else:
            output["format"] = {"type": "json" if format["type"] == "json_object" else "text"}
    for name, kind in _OUTPUT.items():
        if isinstance(value := body.get(name), kind):
            output[name] = value
    return output


def _metadata(body: Map) -> Map:
    metadata = {name: body[key] for key, name in _METADATA.items() if isinstance(body.get(key), str)}
    if isinstance(tags := body.get("metadata"), dict):
        metadata["tags"] = tags
    if isinstance(store := body.get("store"), bool):
        metadata["store"] = store
    return metadata


def _turn(message: Map) -> Map:
    role = message["role"]
    if role in ("system", "developer"):
        turn: Map = {"role": "system", "authority": role}
    elif role in ("user", "assistant"):
        turn = {"role": role}
    else:
        raise ValueError(f"unsupported role {role}")
    if isinstance(name := message.get("name"), str):
        turn["name"] = name
    turn["blocks"] = _answer(message) if role == "assistant" else _blocks(message.get("content"))
    if not message.keys() <= _MESSAGE:
        turn["extra"] = {"openai.chat": {key: value for key, value in message.items() if key not in _MESSAGE}}
    return turn


def _answer(message: Map) -> list[Map]:
    blocks: list[Map] = []
    if thought := message.get("reasoning_content"):
        blocks.append({"type": "reasoning", "text": thought})
    content = message.get("content")
    if isinstance(content, str):
        blocks.append({"type": "text", "text": content})
    elif content is not None:
        blocks += _blocks(content)
    if isinstance(refusal := message.get("refusal"), str):
        blocks.append({"type": "refusal", "text": refusal})
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = function.get("arguments")
        blocks.append(
            {
                "type": "tool_call",
                "call_id": call["id"],
                "name": function["name"],
                "arguments": arguments if isinstance(arguments, str) else "{}",
            }
        )
    return blocks


def _result(message: Map) -> Map:
    result: Map = {"type": "tool_result", "call_id": message["tool_call_id"]}
    if isinstance(name := message.get("name"), str):
        result["name"] = name
    result["blocks"] = _blocks(message.get("content"))
    return result


def _blocks(content: Any) -> list[Map]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_block(part) for part in content or ()]


def _block(part: Map) -> Map:
    kind = part["type"]
    if kind == "text":
        block: Map = {"type": "text", "text": part["text"]}
    elif kind == "image_url":
        url = part["image_url"]["url"]
        if url.startswith("data:"):
            media_type, _, data = url[5:].partition(";base64,")
            block = {"type": "image", "source": {"kind": "base64", "media_type": media_type, "data": data}}
        else:
            block = {"type": "image", "source": {"kind": "url", "url": url}}
        if "detail" in part["image_url"]:
            block["detail"] = part["image_url"]["detail"]
    else:
        return {"type": "opaque", "format": "openai.chat", "data": part}
    if isinstance(mark := part.get("cache_control"), dict):
        block["cache"] = {"ttl": mark["ttl"]} if "ttl" in mark else {}
    return block


def _tool(tool: Map) -> Map:
    if tool["type"] != "function":
        return {"type": "server", "name": tool["type"], "format": "openai.chat", "data": tool}
    function = tool["function"]
    made: Map = {"type": "function"}
    for key in ("name", "description", "parameters", "strict"):
        if key in function:
            made[key] = function[key]
    if isinstance(mark := tool.get("cache_control"), dict):
        made["cache"] = {"ttl": mark["ttl"]} if "ttl" in mark else {}
    return made


def _choice(choice: Any) -> Map:
    if isinstance(choice, str):
        return {"mode": choice}
    return {"mode": "tool", "name": choice["function"]["name"]}


# Chat, out


def encode_chat(request: Map, ctx: Map) -> Map:
    body: Map = dict(request.get("extra", {}).get("openai.chat", ()))
    body["model"] = ctx.get("upstream_model") or request["model"]
    messages: list[Map] = []
    for turn in request["turns"]:
        _say(turn, messages)
    body["messages"] = messages
    if "stream" in request:
        body["stream"] = request["stream"]
    if "include_usage" in request:
        body["stream_options"] = {"include_usage": request["include_usage"]}
    if tools := request.get("tools"):
        body["tools"] = [_chat_tool(tool) for tool in tools]
        if choice := request.get("tool_choice"):
            named = {"type": "function", "function": {"name": choice.get("name")}}
            body["tool_choice"] = named if choice["mode"] == "tool" else choice["mode"]
        if "parallel_tools" in request:
            body["parallel_tool_calls"] = request["parallel_tools"]
    body.update(request.get("sampling", ()))
    limits = request.get("limits", {})
    if "max_tokens" in limits:
        body["max_completion_tokens"] = limits["max_tokens"]
    if "stop" in limits:
        body["stop"] = limits["stop"]
    output = request.get("output", {})
    if "format" in output:
        format = output["format"]
        if format["type"] == "json_schema":
            schema = {key: value for key, value in format.items() if key != "type"}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        else:
            body["response_format"] = {"type": "json_object" if format["type"] == "json" else "text"}
    body.update((key, value) for key, value in output.items() if key != "format")
    if "effort" in request.get("reasoning", ()):
        body["reasoning_effort"] = request["reasoning"]["effort"]
    metadata = request.get("metadata", {})
    body.update((key, metadata[name]) for key, name in _METADATA.items() if name in metadata)
    if "tags" in metadata:
        body["metadata"] = metadata["tags"]
    if "store" in metadata:
        body["store"] = metadata["store"]
    return body


def _say(turn: Map, messages: list[Map]) -> None:
    role, blocks = turn["role"], turn["blocks"]
    own = turn.get("extra", {}).get("openai.chat", {})
    if role == "assistant":
        message: Map = {**own, "role": "assistant", "content": None}
        texts = [block for block in blocks if block["type"] == "text"]
        calls = [block for block in blocks if block["type"] == "tool_call"]
        refusals = [block["text"] for block in blocks if block["type"] == "refusal"]
        if texts:
            message["content"] = _content(texts)
        elif not calls and not refusals:
            message["content"] = ""
        if refusals:
            message["refusal"] = "".join(refusals)
        if calls:
            message["tool_calls"] = [_chat_call(block) for block in calls]
        messages.append(message)
        return
    if role == "user":
        rest = []
        for block in blocks:
            if block["type"] == "tool_result":
                identifier = _fitting(block["call_id"], 40)
                messages.append({"role": "tool", "tool_call_id": identifier, "content": _content(block["blocks"])})
            else:
                rest.append(block)
        if not rest and blocks:
            return
        message = {**own, "role": "user", "content": _content(rest)}
    else:
        message = {**own, "role": turn.get("authority", "system"), "content": _content(blocks)}
    if "name" in turn:
        message["name"] = turn["name"]
    messages.append(message)


def _content(blocks: list[Map]) -> Any:
    if len(blocks) == 1 and blocks[0]["type"] == "text" and "extra" not in blocks[0]:
        return blocks[0]["text"]
    return [_part(block) for block in blocks]


def _part(block: Map) -> Map:
    kind = block["type"]
    if kind == "text":
        return {"type": "text", "text": block["text"]}
    if kind == "image":
        source = block["source"]
        url = source["url"] if source["kind"] == "url" else f"data:{source['media_type']};base64,{source['data']}"
        image = {"url": url}
        if "detail" in block:
            image["detail"] = block["detail"]
        return {"type": "image_url", "image_url": image}
    if kind == "opaque" and block["format"] == "openai.chat":
        return block["data"]  # type: ignore[no-any-return]
    raise ValueError(f"a {kind} block")


def _chat_call(block: Map) -> Map:
    function = {"name": block["name"], "arguments": block["arguments"]}
    return {"id": _fitting(block["call_id"], 40), "type": "function", "function": function}


def _chat_tool(tool: Map) -> Map:
    if tool["type"] != "function":
        return tool["data"]  # type: ignore[no-any-return]
    function = {key: tool[key] for key in ("name", "description", "parameters", "strict") if key in tool}
    return {"type": "function", "function": function}


def _fitting(identifier: str, longest: int) -> str:
    if len(identifier) > longest or not _PLAIN.fullmatch(identifier):
        raise ValueError("an identifier that needs a stand-in")
    return identifier


# Messages, out


def encode_messages(request: Map, ctx: Map) -> Map:
    body: Map = {"model": ctx.get("upstream_model") or request["model"]}
    limits = request.get("limits", {})
    body["max_tokens"] = limits.get("max_tokens") or ctx.get("limits", {}).get("max_output_tokens", 4096)
    system: list[Map] = []
    messages: list[Map] = []
    for turn in request["turns"]:
        parts = [part for block in turn["blocks"] if (part := _message_part(block)) is not None]
        if turn["role"] == "system":
            system += parts
            continue
        if not parts:
            continue
        if messages and messages[-1]["role"] == turn["role"]:
            messages[-1]["content"] += parts
        else:
            messages.append(
                {"role": turn["role"], "content": parts, **turn.get("extra", {}).get("anthropic.messages", {})}
            )
    for message in messages:
        if message["role"] == "user":  # results of the answer before come first
            message["content"].sort(key=lambda part: part["type"] != "tool_result")
    if messages and messages[0]["role"] == "assistant":
        messages.insert(0, {"role": "user", "content": [{"type": "text", "text": "."}]})
    if messages and messages[-1]["role"] == "assistant" and messages[-1]["content"][-1]["type"] == "text":
        last = messages[-1]["content"][-1]
        messages[-1]["content"][-1] = {**last, "text": last["text"].rstrip()}
    if system:
        body["system"] = system
    body["messages"] = messages
    if tools := request.get("tools"):
        body["tools"] = [_message_tool(tool) for tool in tools]
        if choice := request.get("tool_choice"):
            mode = {"required": "any"}.get(choice["mode"], choice["mode"])
            body["tool_choice"] = {"type": mode, "name": choice["name"]} if mode == "tool" else {"type": mode}
    sampling = request.get("sampling", {})
    if "temperature" in sampling:
        body["temperature"] = min(sampling["temperature"], 1)
    for name in ("top_p", "top_k"):
        if name in sampling:
            body[name] = sampling[name]
    if stops := [one for one in limits.get("stop", ()) if one.strip()]:
        body["stop_sequences"] = stops
    if "stream" in request:
        body["stream"] = request["stream"]
    body.update(request.get("extra", {}).get("anthropic.messages", ()))
    metadata = request.get("metadata", {})
    if user := metadata.get("user", metadata.get("safety_identifier")):
        body["metadata"] = {"user_id": user}
    return body


def _message_part(block: Map) -> Map | None:
    kind = block["type"]
    if kind in ("text", "refusal"):
        if not block["text"].strip():
            return None
        part: Map = {"type": "text", "text": block["text"]}
    elif kind == "tool_call":
        arguments = block["arguments"]
        if not isinstance(orjson.loads(arguments), dict):
            raise ValueError("arguments are an object")
        part = {
            "type": "tool_use",
            "id": _fitting(block["call_id"], 64),
            "name": _fitting(block["name"], 128),
            "input": orjson.Fragment(arguments),
        }
    elif kind == "tool_result":
        inner = [one for item in block["blocks"] if (one := _message_part(item)) is not None]
        part = {"type": "tool_result", "tool_use_id": _fitting(block["call_id"], 64)}
        if inner:
            part["content"] = inner
        if "error" in block:
            part["is_error"] = block["error"]
    elif kind == "image":
        source = block["source"]
        part = {"type": "image", "source": {"type": source["kind"], **source}}
        del part["source"]["kind"]
    else:
        raise ValueError(f"a {kind} block")
    if "cache" in block:
        part["cache_control"] = {"type": "ephemeral", **block["cache"]}
    if "extra" in block:
        part.update(block["extra"].get("anthropic.messages", ()))
    return part


def _message_tool(tool: Map) -> Map:
    if tool["type"] != "function":
        raise ValueError(f"a tool of type {tool['type']}")
    made: Map = {"name": _fitting(tool["name"], 128)}
    if isinstance(tool.get("description"), str):
        made["description"] = tool["description"]
    parameters = tool.get("parameters")
    if not isinstance(parameters, dict):
        parameters = {"type": "object", "properties": {}}
    made["input_schema"] = parameters if "type" in parameters else {"type": "object", **parameters}
    if "cache" in tool:
        made["cache_control"] = {"type": "ephemeral", **tool["cache"]}
    return made
