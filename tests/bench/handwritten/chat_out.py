"""Chat requests out."""

from __future__ import annotations

from typing import Any, Final

from nexeon.mapping.functions import to_data_url
from nexeon.mapping.missing import MISSING
from nexeon.mapping.seals import break_seal
from nexeon.wire.json import dumps
from tests.bench.handwritten.chat_offer import NAME, mark, offer, output_to, reason_to
from tests.bench.handwritten.parts import NOTHING, Map, Refused, empty, fitting, lose, own, translation

_SAMPLING: Final = (
    *("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed", "logit_bias", "logprobs"),
    *("top_logprobs", "n"),
)
_METADATA: Final = {
    "user": "user",
    "safety_identifier": "safety_identifier",
    "tags": "metadata",
    "service_tier": "service_tier",
    "store": "store",
    "cache_key": "prompt_cache_key",
    "cache_retention": "prompt_cache_retention",
}
_LONGEST_USER: Final = 64
_AUDIO: Final = {
    **dict.fromkeys(("audio/mpeg", "audio/mp3"), "mp3"),
    **dict.fromkeys(("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"), "wav"),
    "audio/flac": "flac",
    "audio/aac": "aac",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/pcm": "pcm16",
    **dict.fromkeys(("audio/aiff", "audio/x-aiff"), "aiff"),
    **dict.fromkeys(("audio/mp4", "audio/m4a"), "m4a"),
}
_FILES: Final = {
    "application/pdf": "document.pdf",
    "text/plain": "document.txt",
    "text/markdown": "document.md",
    "text/csv": "document.csv",
    "text/html": "document.html",
    "application/json": "document.json",
}


@translation
def encode_chat(request: Map, ctx: Map) -> Map:
    profile = ctx.get("profile") or NOTHING
    mine = own(request, NAME)
    body: Map = {key: value for key, value in mine.items() if key != "stream_options"} if mine else {}
    model = ctx.get("upstream_model")
    if model is not None:
        body["model"] = model
    elif "model" in request:
        body["model"] = request["model"]
    messages: list[Map] = []
    if not empty(request.get("system")):
        role = "developer" if profile.get("developer_role") is True else "system"
        messages.append({"role": role, "content": _content(request["system"], profile, ctx)})
    for turn in _together(request.get("turns") or ()):
        _say(turn, messages, profile, ctx)
    body["messages"] = messages
    if "stream" in request:
        body["stream"] = request["stream"]
    options = dict(mine.get("stream_options") or ())
    if "include_usage" in request:
        options["include_usage"] = request["include_usage"]
    if options:
        body["stream_options"] = options
    offer(request, body, profile, ctx)
    if sampling := request.get("sampling"):
        for name in _SAMPLING:
            if name in sampling:
                body[name] = sampling[name]
    if limits := request.get("limits"):
        if "max_tokens" in limits:
            body["max_completion_tokens"] = limits["max_tokens"]
        if "stop" in limits:
            body["stop"] = limits["stop"]
    if output := request.get("output"):
        output_to(output, body, profile, ctx)
    if type(reasoning := request.get("reasoning")) is dict:
        reason_to(reasoning, body, profile)
    if metadata := request.get("metadata"):
        for name, key in _METADATA.items():
            if name in metadata:
                body[key] = metadata[name]
        if type(user := metadata.get("user")) is str and len(user) > _LONGEST_USER:
            body["user"] = fitting(user, _LONGEST_USER)
    return body


# messages


def _together(turns: list[Map]) -> list[Map]:
    """Calls that one answer made stand in one message: neighbouring answers are merged, where not the last of them
    calls."""
    before: Any = None
    for turn in turns:
        if turn["role"] == "assistant" == before:
            break
        before = turn["role"]
    else:
        return turns
    made: list[Map] = []
    run: list[Map] = []
    for turn in [*turns, NOTHING]:
        if turn.get("role") == "assistant":
            run.append(turn)
            continue
        if any(block["type"] == "tool_call" for one in run[:-1] for block in one["blocks"]):
            made.append({**run[0], "blocks": [block for one in run for block in one["blocks"]]})
        else:
            made += run
        run = []
        if turn:
            made.append(turn)
    return made


def _say(turn: Map, messages: list[Map], profile: Map, ctx: Map) -> None:
    role, blocks = turn["role"], turn["blocks"]
    if role == "assistant":
        _answer(turn, messages, profile, ctx)
        return
    if role == "user":
        rest = []
        aside = []
        results = False
        for block in blocks:
            if block["type"] == "tool_result":
                results = True
                _result(block, messages, aside, profile, ctx)
            else:
                rest.append(block)
        rest = aside + rest if aside else rest
        if results and not rest:
            return
        message: Map = {**own(turn, NAME), "role": "user", "content": _content(rest, profile, ctx)}
    elif role == "system":
        developer = turn.get("authority") == "developer" or profile.get("developer_role") is True
        message = {
            **own(turn, NAME),
            "role": "developer" if developer else "system",
            "content": _content(blocks, profile, ctx),
        }
    else:
        raise Refused(f"unsupported role {role!r}", turn)
    if "name" in turn:
        message["name"] = turn["name"]
    messages.append(message)


def _result(block: Map, messages: list[Map], aside: list[Map], profile: Map, ctx: Map) -> None:
    """A result as a message of a tool, which takes text only: what else it holds goes to `aside`."""
    told = _worded(block["blocks"])
    texts = [one for one in told if one["type"] == "text"]
    if len(texts) < len(told):
        others = []
        for one in told:
            if one["type"] == "opaque" and one["format"] != NAME:
                lose(ctx, f"a block that only {one['format']} knows", one)
            elif one["type"] != "text":
                others.append(one)
        if others:
            aside.append({"type": "text", "text": f"Result of the tool call {fitting(block['call_id'], 40)}:"})
            aside += others
    if texts:
        content = _content(texts, profile, ctx)
    elif any(one["type"] not in ("text", "opaque") for one in block["blocks"]):
        content = "See the next message of the user."
    else:
        content = "error" if block.get("error") is True else ""
    message = {**own(block, NAME), "role": "tool", "tool_call_id": fitting(block["call_id"], 40), "content": content}
    messages.append(message)


def _worded(blocks: list[Map]) -> list[Map]:
    """Documents that hold text are text."""
    made: list[Map] = []
    for block in blocks:
        source = block.get("source") if block["type"] == "document" else None
        kind = source.get("kind") if source else None
        if source and kind == "text":
            text = {"type": "text", "text": _titled(block.get("title"), source["data"])}
            if "cache" in block:
                text["cache"] = block["cache"]
            made.append(text)
        elif source and kind == "blocks":
            if not empty(block.get("title")):
                made.append({"type": "text", "text": block["title"]})
            made += _worded(source["blocks"])
        else:
            made.append(block)
    return made


def _titled(title: Any, text: str) -> str:
    return f"{title}\n\n{text}" if title else text


def _answer(turn: Map, messages: list[Map], profile: Map, ctx: Map) -> None:
    speech: list[Map] = []
    calls: list[Map] = []
    thoughts: list[Map] = []
    refusals: list[str] = []
    voice: Any = None
    for block in turn["blocks"]:
        kind = block["type"]
        if kind == "text" or kind == "opaque":
            speech.append(block)
        elif kind == "tool_call":
            calls.append(_call(block, profile, ctx))
        elif kind == "reasoning":
            thoughts.append(block)
        elif kind == "refusal":
            refusals.append(block["text"])
        elif kind == "audio":
            if "audio_id" in block:
                voice = block["audio_id"]
            elif type(said := block.get("transcript")) is str:
                speech.append({"type": "text", "text": said})
            else:
                lose(ctx, "sound in an assistant's turn", block)
        else:
            lose(ctx, f"a {kind} block of the assistant", block)
    reasoned = _history(thoughts, profile, ctx) if thoughts else NOTHING
    if not (speech or calls or refusals or reasoned or voice is not None) and turn["blocks"]:
        return
    message: Map = {**own(turn, NAME), "role": "assistant"}
    refusal = "".join(refusals)
    if speech:
        message["content"] = _content(speech, profile, ctx)
    else:
        message["content"] = None if calls or refusal or voice is not None else ""
    if "name" in turn:
        message["name"] = turn["name"]
    if refusal:
        message["refusal"] = refusal
    if voice is not None:
        message["audio"] = {"id": voice}
    if calls:
        message["tool_calls"] = calls
    if reasoned:
        message.update(reasoned)
    messages.append(message)


def _call(block: Map, profile: Map, ctx: Map) -> Map:
    identifier = fitting(block["call_id"], 40)
    if block.get("kind") == "custom":
        if profile.get("custom_tools") is not False:
            return {
                "id": identifier,
                "type": "custom",
                "custom": {"name": block["name"], "input": block["arguments"]},
            }
        arguments = dumps({"input": block["arguments"]}).decode()
        return {"id": identifier, "type": "function", "function": {"name": block["name"], "arguments": arguments}}
    function = {"name": block["name"], "arguments": block["arguments"]}
    call: Map = {"id": identifier, "type": "function", "function": function}
    if "seal" in block and (proof := break_seal(block["seal"], (), ctx)) is not MISSING:
        call["extra_content"] = {"google": {"thought_signature": proof}}
    return call


def _history(thoughts: list[Map], profile: Map, ctx: Map) -> Map:
    """Reasoning, for the few providers that take it back; what the target did not seal is left out."""
    style = profile.get("reasoning_history")
    if style not in ("content", "details"):
        return NOTHING
    texts: list[str] = []
    details: list[Map] = []
    for number, block in enumerate(thoughts):
        proof: Any = break_seal(block["seal"], (), ctx) if "seal" in block else None
        if "seal" in block and type(proof) is not str:
            continue
        if style == "content":
            texts += [block["text"]] if "text" in block else []
            continue
        format = own(block, NAME).get("format")
        head: Map = {"id": block["id"]} if "id" in block else {}
        if (format := profile.get("reasoning_format") if format is None else format) is not None:
            head["format"] = format
        head["index"] = number
        for summary in block.get("summary") or ():
            details += [{"type": "reasoning.summary", "summary": summary, **head}]
        signs = "seal" in block and block["seal"].get("kind") in ("signature", "thought_signature")
        if type(block.get("text")) is str or (signs and proof):
            said = {"text": block["text"]} if "text" in block else {}
            signed = {"signature": proof} if signs else {}
            details.append({"type": "reasoning.text", **said, **signed, **head})
        if type(proof) is str and not signs:
            details.append({"type": "reasoning.encrypted", "data": proof, **head})
    if style == "content":
        return {"reasoning_content": "".join(texts)} if texts else NOTHING
    return {"reasoning_details": details} if details else NOTHING


# parts


def _content(blocks: list[Map], profile: Map, ctx: Map) -> Any:
    """One plain text is text, everything else a list."""
    if len(blocks) == 1:
        one = blocks[0]
        if one["type"] == "text" and "extra" not in one and ("cache" not in one or "cache" not in profile):
            return one["text"]
    parts: list[Map] = []
    for block in blocks:
        _part(block, parts, profile, ctx)
    return parts


def _part(block: Map, parts: list[Map], profile: Map, ctx: Map) -> None:
    kind = block["type"]
    mine = own(block, NAME)
    if kind == "text":
        made: Map = {**mine, "type": "text", "text": block["text"]}
    elif kind == "refusal":
        made = {"type": "refusal", "refusal": block["text"]}
    elif kind == "image":
        if block["source"]["kind"] == "file":
            raise Refused("an image cannot be given by its file id here", block["source"])
        image = {"url": _link(block["source"])}
        if "detail" in block:
            image["detail"] = block["detail"]
        made = {**mine, "type": "image_url", "image_url": image}
    elif kind == "document":
        if context := block.get("context"):
            parts.append({"type": "text", "text": context})
        _document(block, parts, profile, ctx)
        return
    elif kind == "audio":
        source = block.get("source") or NOTHING
        if source.get("kind") != "base64":
            raise Refused("audio can only be given as base64 here", source)
        format = block["format"] if "format" in block else _AUDIO.get(source.get("media_type"), "wav")
        made = {**mine, "type": "input_audio", "input_audio": {"data": source["data"], "format": format}}
    elif kind == "video":
        if profile.get("video") is not True or block["source"]["kind"] == "file":
            raise Refused("this provider takes no video", block)
        made = {**mine, "type": "video_url", "video_url": {"url": _link(block["source"])}}
    elif kind == "opaque":
        if block["format"] == NAME:
            parts.append(block["data"])
        else:
            lose(ctx, f"a block that only {block['format']} knows", block)
        return
    else:
        lose(ctx, f"a {kind} block", block)
        return
    if "cache" in block:
        mark(block, made, profile)
    parts.append(made)


def _document(block: Map, parts: list[Map], profile: Map, ctx: Map) -> None:
    source = block["source"]
    kind = source["kind"]
    if kind == "blocks":
        for inner in source["blocks"]:
            _part(inner, parts, profile, ctx)
        return
    if kind == "text":
        made: Map = {"type": "text", "text": _titled(block.get("title"), source["data"])}
    elif kind == "file":
        file = {"file_id": source["file_id"]}
        if "filename" in block:
            file["filename"] = block["filename"]
        made = {**own(block, NAME), "type": "file", "file": file}
    else:
        name = block["filename"] if "filename" in block else block.get("title")
        name = name or _FILES.get(source.get("media_type"), "document.pdf")
        made = {**own(block, NAME), "type": "file", "file": {"filename": name, "file_data": _link(source)}}
    mark(block, made, profile)
    parts.append(made)


def _link(source: Map) -> Any:
    if source["kind"] == "url":
        return source["url"]
    return to_data_url(source["data"], source.get("media_type") or "application/pdf")
