"""Messages requests out: the body and its turns."""

from __future__ import annotations

from typing import Any, Final

from nexeon.mapping.functions import to_json
from tests.bench.handwritten.messages_parts import NAME, content_of, part_of, thinks_first
from tests.bench.handwritten.messages_tools import choice_of, closable, tools_of
from tests.bench.handwritten.parts import NOTHING, NUMBERS, Map, Refused, fitting, lose, own, translation

_WORDS: Final = {"minimal": "low", **{word: word for word in ("low", "medium", "high", "xhigh", "max")}}
_BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 65536}
_TIERS: Final = {"auto": "auto", "default": "standard_only", "priority": "auto"}
_ONE_OBJECT: Final = "Answer with one JSON object and nothing else: no prose around it, no code fence."


@translation
def encode_messages(request: Map, ctx: Map) -> Map:
    profile = ctx.get("profile") or NOTHING
    mine = own(request, NAME)
    sampling = request.get("sampling") or NOTHING
    turns = request.get("turns") or []
    if type(several := sampling.get("n")) in NUMBERS and several > 1:
        raise Refused(f"n is {several}: this model gives one answer", sampling)
    body: Map = {}
    model = ctx.get("upstream_model")
    if model is not None:
        body["model"] = model
    elif "model" in request:
        body["model"] = request["model"]
    most = body["max_tokens"] = _most(request, ctx)
    tools = tools_of(request, profile, ctx)
    spoken, hoisted = _places(turns, profile)
    messages = _ordered(_joined(spoken, ctx))
    given = request.get("system") or []
    output = (request.get("output") or NOTHING).get("format") or NOTHING
    system: list[Map] = []
    if messages:
        messages = _framed(messages, profile)
        _instruct(given, system, ctx)
        for turn in hoisted:
            _instruct(turn["blocks"], system, ctx)
    elif hoisted:  # a system prompt and nothing else is what the user says
        messages = [{"role": "user", "content": content_of(turn["blocks"], ctx), **own(turn, NAME)} for turn in hoisted]
        _instruct(given, system, ctx)
    else:
        text = content_of(given, ctx) if given else [{"type": "text", "text": "."}]
        messages = [{"role": "user", "content": text}]
    if output:
        _formatted(output, system, profile)
    if system:
        body["system"] = system
    body["messages"] = messages
    declared = [] if tools else _declared(turns)
    if tools or declared:
        body["tools"] = tools or declared
    if (choice := choice_of(request, tools, declared, profile)) is not None:
        body["tool_choice"] = choice
    if type(warmth := sampling.get("temperature")) in NUMBERS:
        body["temperature"] = min(warmth, 1)
    for name in ("top_p", "top_k"):
        if name in sampling:
            body[name] = sampling[name]
    if stop := (request.get("limits") or NOTHING).get("stop"):
        stops = [one for one in stop if one.strip()]
        for _ in range(len(stop) - len(stops)):
            lose(ctx, "a stop sequence of white space", None)
        if stops:
            body["stop_sequences"] = stops
    if "stream" in request:
        body["stream"] = request["stream"]
    metadata = request.get("metadata") or NOTHING
    if (tier := _TIERS.get(metadata.get("service_tier"))) is not None:
        body["service_tier"] = tier
    if profile.get("auto_cache") is True and type(metadata.get("cache_key")) is str:
        long = metadata.get("cache_retention") == "24h"
        body["cache_control"] = {"type": "ephemeral", "ttl": "1h"} if long else {"type": "ephemeral"}
    if mine:
        body.update(mine)
    reasoning = request.get("reasoning")
    if reasoning is not None or "thinking" in mine:
        thinking = _thinking(request, reasoning or NOTHING, mine, messages, most, profile, ctx)
        if thinking:
            body["thinking"] = thinking
    configured: Map = {}
    if reasoning and (effort := _effort(reasoning, profile)) is not None:
        configured["effort"] = effort
    configured.update(mine.get("output_config") or ())
    if configured:
        body["output_config"] = configured
    who: Map = {}
    for name in ("user", "safety_identifier"):
        if name in metadata:
            who["user_id"] = metadata[name]
            break
    who.update(mine.get("metadata") or ())
    if who:
        body["metadata"] = who
    return body


def _most(request: Map, ctx: Map) -> Any:
    """The limit of tokens, which this API requires."""
    known = (ctx.get("limits") or NOTHING).get("max_output_tokens")
    asked = (request.get("limits") or NOTHING).get("max_tokens")
    if asked is None:
        return 4096 if known is None else known
    return asked if known is None else min(asked, known)


# turns


def _places(turns: list[Map], profile: Map) -> tuple[list[Map], list[Map]]:
    """(what is said in the conversation, the system turns that go to the system prompt)."""
    systems = 0
    for turn in turns:
        if turn["role"] == "system":
            systems += 1
    if not systems:
        return turns, []
    if systems == 1 and turns[0]["role"] == "system":
        return turns[1:], turns[:1]
    spoken: list[Map] = []
    hoisted: list[Map] = []
    for start, turn in enumerate(turns):
        if turn["role"] != "system":
            spoken.append(turn)
            continue
        if start and turns[start - 1]["role"] == "system":
            continue  # was seen with the first of them
        end = start
        while end < len(turns) and turns[end]["role"] == "system":
            end += 1
        before = turns[start - 1]["role"] if start else None
        after = turns[end]["role"] if end < len(turns) else None
        if profile.get("system_turns") is True and before == "user" and after != "user":
            spoken += turns[start:end]
        elif before == "assistant" and after is None:  # what the next answer is to
            spoken += [{**one, "role": "user"} for one in turns[start:end]]
        else:
            hoisted += turns[start:end]
    return spoken, hoisted


def _joined(turns: list[Map], ctx: Map) -> list[Map]:
    """Messages that hold something, neighbours of one role as one."""
    messages: list[Map] = []
    for turn in turns:
        role = turn["role"]
        message: Map = {"role": role, "content": content_of(turn.get("blocks") or (), ctx)}
        if "extra" in turn:
            message.update(own(turn, NAME))
        if not message["content"] and type(message.get("output_config")) is not dict:
            continue
        if messages and messages[-1]["role"] == role:
            before = messages[-1]
            messages[-1] = {**before, "content": before["content"] + message["content"]}
        else:
            messages.append(message)
    return messages


def _ordered(messages: list[Map]) -> list[Map]:
    """Results of the answer before come first."""
    for message in messages:
        content = message["content"]
        if message["role"] == "user" and len(content) > 1:
            content.sort(key=lambda part: part.get("type") != "tool_result")
    return messages


def _framed(messages: list[Map], profile: Map) -> list[Map]:
    """The user begins, an answer that goes on ends without a space, and the user ends where none can go on."""
    if messages[0]["role"] == "assistant":
        messages.insert(0, {"role": "user", "content": [{"type": "text", "text": "."}]})
    last = messages[-1]
    if last["role"] == "assistant" and last["content"][-1].get("type") == "text":
        end = last["content"][-1]
        messages[-1] = {**last, "content": [*last["content"][:-1], {**end, "text": end["text"].rstrip()}]}
        if profile.get("prefill") is False:
            messages.append({"role": "user", "content": [{"type": "text", "text": "Continue."}]})
    return messages


def _instruct(blocks: list[Map], system: list[Map], ctx: Map) -> None:
    for block in blocks:
        if block["type"] not in ("text", "refusal"):
            lose(ctx, f"{block['type']} in the system prompt", block)
        elif (part := part_of(block, ctx)) is not None:
            system.append(part)


def _declared(turns: list[Map]) -> list[Map]:
    """A history with calls needs their tools declared."""
    names = dict.fromkeys(
        block["name"] for turn in turns for block in turn.get("blocks") or () if block["type"] == "tool_call"
    )
    return [{"name": fitting(name, 128), "input_schema": {"type": "object", "properties": {}}} for name in names]


# settings


def _formatted(format: Map, system: list[Map], profile: Map) -> None:
    kind = format.get("type")
    if kind == "json":
        system.append({"type": "text", "text": _ONE_OBJECT})
    elif kind == "json_schema":
        if profile.get("structured_output") is not False and closable(format.get("schema")):
            raise NotImplementedError("a closed schema")
        asked = "Answer with one JSON value and nothing else: no prose around it, no code fence."
        text = f"{asked} It must be valid against this JSON Schema:\n{to_json(format['schema'])}"
        system.append({"type": "text", "text": text})


def _wanted(reasoning: Map) -> bool:
    mode, effort, budget = reasoning.get("mode"), reasoning.get("effort"), reasoning.get("budget")
    if mode is not None:
        return mode in ("on", "adaptive")
    if effort == "none":
        return False
    if type(budget) in NUMBERS and budget > 0:
        return True
    show = reasoning.get("show")
    return show is not False and (type(effort) is str or show is True)


def _thinking(
    request: Map, reasoning: Map, mine: Map, messages: list[Map], most: Any, profile: Map, ctx: Map
) -> Map | None:
    more: Map = mine.get("thinking") or NOTHING
    if "type" in more:
        return more
    mode, effort, budget = reasoning.get("mode"), reasoning.get("effort"), reasoning.get("budget")
    style = profile.get("reasoning")
    if not _wanted(reasoning):
        off = mode == "off" or effort == "none" or (budget == 0 and budget is not False)
        hushed = off and style != "none" and profile.get("thinking_always") is not True
        return {"type": "disabled"} if hushed else None
    shown: Map = {}
    if profile.get("thinking_hidden") is True and reasoning.get("show") is True:
        shown = {"display": "summarized"}
    if style is None:
        style = "adaptive" if mode == "adaptive" else "budget"
    if style == "adaptive":
        return {"type": "adaptive", **shown, **more}
    if style == "none":
        lose(ctx, "this model does not reason", reasoning)
        return None
    if type(budget) in NUMBERS and budget > 0:
        tokens = min(max(budget, 1024), most - 1)
    else:
        tokens = min(_BUDGETS["medium" if effort is None else effort], most * 4 // 5)
    if (request.get("tool_choice") or NOTHING).get("mode") in ("required", "tool") and request.get("tools"):
        lose(ctx, "reasoning beside a forced tool choice", reasoning)
    elif _unsigned(messages):
        lose(ctx, "reasoning while a tool loop goes on whose thinking is lost", reasoning)
    elif tokens < 1024:
        lose(ctx, "reasoning within so few tokens", reasoning)
    else:
        return {"type": "enabled", "budget_tokens": tokens, **shown, **more}
    return None


def _unsigned(messages: list[Map]) -> bool:
    """Whether a turn that tool results continue did not begin with signed thinking."""
    going: list[Map] = []
    for message in reversed(messages):
        if message["role"] != "assistant" and message["content"][0].get("type") != "tool_result":
            break
        going.append(message)
    return len(going) > 1 and not any(map(thinks_first, going))


def _effort(reasoning: Map, profile: Map) -> Any:
    effort, mode, budget = reasoning.get("effort"), reasoning.get("mode"), reasoning.get("budget")
    said = type(effort) is str
    words = profile.get("effort")
    if type(words) is not dict:
        return _WORDS.get(effort) if said and (mode is not None or reasoning.get("show") is False) else None
    if said:
        level = effort
    elif type(budget) in NUMBERS and budget > 0:
        level = "low" if budget < 4096 else "medium" if budget < 16384 else "high"
    else:
        level = "medium" if mode == "on" else None
    return words.get(level)
