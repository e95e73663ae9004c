"""Chat requests in."""

from __future__ import annotations

import re
from typing import Any, Final

from nexeon.mapping.functions import data_url, new_id
from nexeon.mapping.missing import MISSING
from nexeon.mapping.seals import make_seal
from nexeon.wire.json import dumps
from tests.bench.handwritten.chat_settings import (
    NUMERIC,
    OUTPUT,
    choice_of,
    limits_of,
    mark,
    output_of,
    reasoning_of,
    rest_of,
    sampling_of,
    tools_of,
)
from tests.bench.handwritten.parts import NOTHING, NUMBERS, Map, Refused, empty, lose, rows, translation

_SCHEME: Final = re.compile(r"(?s)[A-Za-z][A-Za-z0-9+.-]*:.*")
_AUDIO: Final = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "opus": "audio/opus",
    "pcm16": "audio/pcm",
}
_METADATA: Final = (
    ("user", "user", str),
    ("safety_identifier", "safety_identifier", str),
    ("tags", "metadata", dict),
    ("service_tier", "service_tier", str),
    ("store", "store", bool),
    ("cache_key", "prompt_cache_key", str),
    ("cache_retention", "prompt_cache_retention", str),
)
_BODY: Final = frozenset(
    {
        *("model", "messages", "stream", "tools", "functions", "web_search_options", "tool_choice", "function_call"),
        *("parallel_tool_calls", *NUMERIC, "logit_bias", "logprobs", "top_logprobs", "n", "max_completion_tokens"),
        *("max_tokens", "stop", "response_format", *(name for name, _ in OUTPUT), "reasoning_effort", "reasoning"),
        *("thinking", *(key for _, key, _ in _METADATA), "stream_options"),
    }
)
_MESSAGE: Final = frozenset(
    {
        *("role", "content", "name", "tool_calls", "refusal", "audio", "reasoning_content", "reasoning"),
        *("reasoning_details", "annotations", "images"),
    }
)
_RESULT: Final = frozenset({"role", "tool_call_id", "name", "content"})
_LEGACY: Final = frozenset({*_MESSAGE, "function_call"})


@translation
def decode_chat(body: Map, ctx: Map) -> Map:
    request: Map = {}
    if "model" in body:
        request["model"] = body["model"]
    if type(stream := body.get("stream")) is bool:
        request["stream"] = stream
    request["turns"] = _turns(rows(body.get("messages"), "messages", body), ctx)
    if tools := tools_of(body):
        request["tools"] = tools
    if (choice := choice_of(body, ctx)) is not None:
        request["tool_choice"] = choice
    if type(parallel := body.get("parallel_tool_calls")) is bool:
        request["parallel_tools"] = parallel
    elif type(body.get("functions")) is list and empty(body.get("tools")):
        request["parallel_tools"] = False
    if sampling := sampling_of(body):
        request["sampling"] = sampling
    if limits := limits_of(body):
        request["limits"] = limits
    if output := output_of(body, ctx):
        request["output"] = output
    if reasoning := reasoning_of(body):
        request["reasoning"] = reasoning
    if metadata := {name: body[key] for name, key, kind in _METADATA if type(body.get(key)) is kind}:
        request["metadata"] = metadata
    options = body.get("stream_options")
    if type(options) is dict and type(options.get("include_usage")) is bool:
        request["include_usage"] = options["include_usage"]
    extra = {key: value for key, value in body.items() if key not in _BODY}
    if type(options) is dict and (others := rest_of(options, frozenset({"include_usage"}))):
        extra["stream_options"] = others
    if extra:
        request["extra"] = {"openai.chat": extra}
    return request


# messages


def _turns(messages: list[Any], ctx: Map) -> list[Map]:
    turns: list[Map] = []
    results: list[Map] | None = None
    for number, message in enumerate(messages):
        if type(message) is not dict:
            raise Refused("a message is a map", messages)
        role = message.get("role")
        if role == "tool" or role == "function":
            if results is None:
                results = []
                turns.append({"role": "user", "blocks": results})
            results.append(_result(message, number, ctx))
            continue
        results = None
        if role == "user":
            turn: Map = {"role": "user"}
        elif role == "assistant":
            turn = {"role": "assistant"}
        elif role == "system" or role == "developer":
            turn = {"role": "system", "authority": role}
        else:
            raise Refused(f"unsupported role {role!r}", message)
        if type(name := message.get("name")) is str:
            turn["name"] = name
        if role == "assistant":
            legacy = type(message.get("function_call")) is dict
            turn["blocks"] = _said(message, number if legacy else -1, ctx)
            rest = rest_of(message, _LEGACY if legacy else _MESSAGE)
        else:
            turn["blocks"] = _blocks(message.get("content"), message)
            rest = rest_of(message, _MESSAGE)
        if rest:
            turn["extra"] = {"openai.chat": rest}
        turns.append(turn)
    return turns


def _result(message: Map, number: int, ctx: Map) -> Map:
    result: Map = {"type": "tool_result"}
    legacy = message["role"] == "function"
    if legacy:
        result["call_id"] = f"call_{number - 1}"
    elif "tool_call_id" in message:
        result["call_id"] = message["tool_call_id"]
    if type(name := message.get("name")) is str:
        result["name"] = name
    content = message.get("content")
    result["blocks"] = _blocks("" if legacy and content is None else content, message)
    if not legacy and (rest := rest_of(message, _RESULT)):
        result["extra"] = {"openai.chat": rest}
    return result


def _said(message: Map, legacy: int, ctx: Map) -> list[Map]:
    """An assistant's blocks."""
    blocks: list[Map] = []
    details = message.get("reasoning_details")
    if details:
        _details(details, message, blocks, ctx)
    else:
        text = message.get("reasoning_content") or message.get("reasoning")
        if type(text) is str and text:
            blocks.append({"type": "reasoning", "text": text})
    content = message.get("content")
    if type(content) is str:
        block: Map = {"type": "text", "text": content}
        if annotations := message.get("annotations"):
            cited = [_citation(one) for one in rows(annotations, "annotations", message) if _cites(one)]
            if cited:
                block["citations"] = cited
        blocks.append(block)
    elif content is not None:
        blocks += _blocks(content, message)
    if type(refusal := message.get("refusal")) is str:
        blocks.append({"type": "refusal", "text": refusal})
    if type(audio := message.get("audio")) is dict:
        blocks.append(_audio(audio))
    if images := message.get("images"):
        for image in rows(images, "images", message):
            inner = image.get("image_url")
            url = inner.get("url") if type(inner) is dict else None
            blocks.append({"type": "image", "source": _address(url, image)})
    if legacy >= 0:
        blocks.append(_call({"id": f"call_{legacy}", "function": message["function_call"]}))
    elif calls := message.get("tool_calls"):
        for call in rows(calls, "tool_calls", message):
            if type(call) is not dict:
                raise Refused("a tool call is a map", calls)
            made = _tool_call(call, ctx)
            if made is not None:
                blocks.append(made)
    return blocks


def _tool_call(call: Map, ctx: Map) -> Map | None:
    if not call.get("id"):
        call = {**call, "id": new_id("call_", ctx=ctx)}
    if type(custom := call.get("custom")) is dict:
        block: Map = {"type": "tool_call", "kind": "custom", "call_id": call["id"]}
        if "name" in custom:
            block["name"] = custom["name"]
        given = custom.get("input")
        block["arguments"] = "" if given is None else given
        return block
    kind = call.get("type")
    if type(kind) is str and kind != "function" and type(call.get("function")) is not dict:
        lose(ctx, f"a call of type {kind}", call)
        return None
    block = _call(call)
    if type(content := call.get("extra_content")) is dict and type(google := content.get("google")) is dict:
        seal = make_seal(google.get("thought_signature"), "thought_signature", ctx)
        if seal is not MISSING:
            block["seal"] = seal
    return block


def _call(call: Map) -> Map:
    function = call.get("function")
    if type(function) is not dict:
        function = NOTHING
    block = {"type": "tool_call", "call_id": call["id"]}
    if "name" in function:
        block["name"] = function["name"]
    arguments = function.get("arguments")
    if type(arguments) is dict:
        arguments = dumps(arguments).decode()
    block["arguments"] = arguments if type(arguments) is str else "{}"
    return block


def _audio(audio: Map) -> Map:
    block: Map = {"type": "audio"}
    if type(identifier := audio.get("id")) is str:
        block["audio_id"] = identifier
    if type(data := audio.get("data")) is str:
        block["source"] = {"kind": "base64", "data": data}
    if type(transcript := audio.get("transcript")) is str:
        block["transcript"] = transcript
    if type(expires := audio.get("expires_at")) in NUMBERS:
        block["expires"] = expires
    return block


def _cites(annotation: Any) -> bool:
    return type(annotation) is dict and annotation.get("type") == "url_citation"


def _citation(annotation: Map) -> Map:
    made: Map = {"kind": "url"}
    found = annotation.get("url_citation")
    if type(found) is not dict:
        return made
    for key in ("url", "title"):
        if key in found:
            made[key] = found[key]
    if type(text := found.get("content")) is str:
        made["text"] = text
    for name, key in (("start", "start_index"), ("end", "end_index")):
        if type(number := found.get(key)) in NUMBERS:
            made[name] = number
    return made


def _details(details: Any, message: Map, blocks: list[Map], ctx: Map) -> None:
    """Reasoning as a list of details: neighbours of one index are one block."""
    parts: list[Map] = []
    last: Any = None
    for number, detail in enumerate(rows(details, "reasoning_details", message)):
        index = detail.get("index")
        if index is None:
            index = number
        if parts and index != last:
            _thought(parts, blocks, ctx)
            parts = []
        parts.append(detail)
        last = index
    _thought(parts, blocks, ctx)


def _thought(parts: list[Map], blocks: list[Map], ctx: Map) -> None:
    def told(key: str) -> list[Any]:
        return [part[key] for part in parts if key in part and not empty(part[key])]

    texts, summary, signatures, sealed, styles = map(told, ("text", "summary", "signature", "data", "format"))
    if not (texts or summary or signatures or sealed):
        return
    block: Map = {"type": "reasoning"}
    if identifiers := told("id"):
        block["id"] = identifiers[0]
    if texts:
        block["text"] = "".join(texts)
    if summary:
        block["summary"] = summary
    hidden = bool(styles) and styles[0].startswith("anthropic")
    if sealed and type(sealed[-1]) is str:
        if hidden:
            block["redacted"] = True
        seal = make_seal(sealed[-1], "redacted" if hidden else "encrypted_content", ctx)
    else:
        seal = make_seal(signatures[-1] if signatures else None, "signature", ctx)
    if seal is not MISSING:
        block["seal"] = seal
    if styles:
        block["extra"] = {"openai.chat": {"format": styles[0]}}
    blocks.append(block)


# parts


def _blocks(content: Any, message: Map) -> list[Map]:
    if type(content) is str:
        return [{"type": "text", "text": content}]
    return [_block(part) for part in rows(content, "content", message)]


def _block(part: Any) -> Map:
    kind = part.get("type") if type(part) is dict else None
    if kind == "text":
        block: Map = {"type": "text"}
        if "text" in part:
            block["text"] = part["text"]
    elif kind == "refusal":
        return {"type": "refusal", "text": part["refusal"]} if "refusal" in part else {"type": "refusal"}
    elif kind == "image_url":
        found = part.get(kind)
        inner = found if type(found) is dict else NOTHING
        block = {"type": "image", "source": _address(found if type(found) is str else inner.get("url"), part)}
        if type(detail := inner.get("detail")) is str:
            block["detail"] = detail
    elif kind == "input_audio":
        inner = part.get(kind) or NOTHING
        source: Map = {"kind": "base64"}
        if "data" in inner:
            source["data"] = inner["data"]
        if (media := _AUDIO.get(inner.get("format"))) is not None:
            source["media_type"] = media
        block = {"type": "audio", "source": source}
        if type(format := inner.get("format")) is str:
            block["format"] = format
    elif kind == "file":
        inner = part.get(kind) or NOTHING
        if type(identifier := inner.get("file_id")) is str:
            block = {"type": "document", "source": {"kind": "file", "file_id": identifier}}
        else:
            block = {"type": "document", "source": _address(inner.get("file_data"), part)}
        if type(filename := inner.get("filename")) is str:
            block["filename"] = filename
    elif kind == "video_url":
        block = {"type": "video", "source": _address((part.get(kind) or NOTHING).get("url"), part)}
    else:
        return {"type": "opaque", "format": "openai.chat", "data": part}
    mark(part, block)
    rest = {key: value for key, value in part.items() if key not in ("type", kind, "cache_control")}
    if rest:
        block["extra"] = {"openai.chat": rest}
    return block


def _address(url: Any, part: Map) -> Map:
    if url is None:
        return {"kind": "base64", "data": ""}
    if type(url) is not str:
        raise Refused("an address is text", part)
    inline = data_url(url) if url.startswith("data:") else MISSING
    if inline is not MISSING:
        return {"kind": "base64", **inline}
    if _SCHEME.fullmatch(url):
        return {"kind": "url", "url": url}
    return {"kind": "base64", "data": url}
