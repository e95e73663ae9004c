"""The grammar of each format's streams: what must come in pairs, in order, and once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cases import CHAT, GEMINI, MESSAGES, RESPONSES
from .read import fold_messages

Event = dict[str, Any]


class Broken(Exception):
    """A rule that a stream breaks."""


def _need(holds: object, rule: str) -> None:
    if not holds:
        raise Broken(rule)


def stream_problem(format: str, events: list[Event], *, usage: bool = True) -> str | None:
    """The first rule that a stream breaks; None where it keeps all. `usage`: the client asked for it."""
    try:
        _need(events, "no events at all")
        if format == CHAT:
            _chat(events, usage=usage)
        else:
            _JUDGES[format](events)
    except Broken as broken:
        return str(broken)
    except (KeyError, IndexError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def responses_problem(events: list[Event], *, background: bool = False, failed: bool = False) -> str | None:
    """The same of a Responses stream that was queued first, or that breaks off with an error."""
    try:
        _need(events, "no events at all")
        _Responses(events, background=background, failed=failed)
    except Broken as broken:
        return str(broken)
    except (KeyError, IndexError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


# Chat Completions


def _chat(events: list[Event], *, usage: bool) -> None:
    for name in ("id", "created", "model", "object"):
        _need(len({event[name] for event in events}) == 1, f"`{name}` changes")
    _need(events[0]["object"] == "chat.completion.chunk", "object")
    finished = False
    calls: dict[int, str] = {}
    for number, event in enumerate(events):
        _need(not finished or number == len(events) - 1, "a chunk between the finish and the usage")
        if not event["choices"]:
            _need(usage, "a usage chunk that nobody asked for")
            _need(finished, "usage before the finish")
            _need(event.get("usage"), "a chunk without choices and usage")
            continue
        _need(not finished, "choices after the finish")
        _need(usage or not event.get("usage"), "usage that nobody asked for")
        _need(not (usage and event.get("usage")), "usage beside choices")
        _need(len(event["choices"]) == 1 and event["choices"][0]["index"] == 0, "one choice, number 0")
        choice = event["choices"][0]
        _need(("role" in choice["delta"]) == (number == 0), "the role comes in the first chunk, and only there")
        finished = choice["finish_reason"] is not None
        for part in choice["delta"].get("tool_calls") or ():
            index = part["index"]
            if index not in calls:
                _need(index == len(calls), "tool calls are not numbered 0, 1, …")
                _need(part["id"] and part["type"], "a tool call begins without id or type")
                calls[index] = part["id"]
                if part["type"] == "function":
                    _need(part["function"]["name"], "a tool call begins without a name")
            else:
                _need(index == len(calls) - 1, "pieces of an earlier tool call")
                _need(part.get("id") in (None, calls[index]), "a tool call changes its id")
                _need(not (part.get("function") or {}).get("name"), "a tool call says its name twice")
    _need(sum(1 for e in events if e["choices"] and e["choices"][0]["finish_reason"]) == 1, "exactly one finish")
    _need(not usage or not events[-1]["choices"], "no usage chunk")


# Messages

_DELTAS = {
    "text_delta": ("text",),
    "citations_delta": ("text",),
    "thinking_delta": ("thinking",),
    "signature_delta": ("thinking",),
    "input_json_delta": ("tool_use", "server_tool_use", "mcp_tool_use"),
    "compaction_delta": ("compaction",),
}


def _messages(events: list[Event]) -> None:
    events = [event for event in events if event["type"] != "ping"]
    _need(events[0]["type"] == "message_start", "does not begin with message_start")
    start = events[0]["message"]
    _need(start["content"] == [] and start["stop_reason"] is None, "message_start is not empty")
    running: Event | None = None
    count = 0
    texts: dict[int, str] = {}
    for event in events[1:-2]:
        kind = event["type"]
        if kind == "content_block_start":
            _need(running is None, "a block begins inside another")
            _need(event["index"] == count, "blocks are not numbered 0, 1, …")
            running = event["content_block"]
            count += 1
            _need(running["type"] != "text" or running["text"] == "", "a text block begins with text")
            _need(running["type"] != "thinking" or running["thinking"] == "", "a thinking block begins with text")
            _need(running["type"] != "tool_use" or running["input"] == {}, "a tool call begins with input")
        elif kind == "content_block_delta":
            _need(running is not None and event["index"] == count - 1, "a delta outside its block")
            assert running is not None
            delta = event["delta"]
            _need(running["type"] in _DELTAS.get(delta["type"], ()), f"{delta['type']} in a {running['type']} block")
            if delta["type"] == "input_json_delta":
                texts[count - 1] = texts.get(count - 1, "") + delta["partial_json"]
        elif kind == "content_block_stop":
            _need(running is not None and event["index"] == count - 1, "a stop outside its block")
            running = None
        else:
            raise Broken(f"{kind} between the blocks")
    _need(running is None, "a block never stops")
    _need(events[-2]["type"] == "message_delta" and events[-2]["delta"]["stop_reason"], "no message_delta at the end")
    _need(events[-1]["type"] == "message_stop", "no message_stop")
    for block in fold_messages(events)["content"]:
        if block["type"] == "tool_use":
            _need(isinstance(block["input"], dict), "a tool call's input is no object")
            _need(block["id"] and block["name"], "a tool call without id or name")


# Gemini


def _gemini(events: list[Event]) -> None:
    for name in ("responseId", "modelVersion"):
        _need(len({event.get(name) for event in events}) == 1, f"`{name}` changes")
    finishes = 0
    for event in events:
        _need(not finishes, "a chunk after the finish")
        for candidate in event.get("candidates") or ():
            _need(candidate.get("index", 0) == 0, "a second candidate")
            finishes += candidate.get("finishReason") is not None
            content = candidate.get("content")
            _need(content is None or content.get("role") == "model", "content without the model's role")
            for part in (content or {}).get("parts") or ():
                if "functionCall" in part:
                    _need(part["functionCall"].get("name"), "a call without a name")
    _need(finishes == 1, "exactly one finish")
    _need(events[-1].get("usageMetadata"), "no usage at the end")


# Responses

_TEXTS = {
    "response.output_text": ("text", "content_index"),
    "response.refusal": ("refusal", "content_index"),
    "response.reasoning_text": ("text", "content_index"),
    "response.reasoning_summary_text": ("text", "summary_index"),
    "response.function_call_arguments": ("arguments", None),
    "response.custom_tool_call_input": ("input", None),
    "response.mcp_call_arguments": ("arguments", None),
    "response.code_interpreter_call_code": ("code", None),
}
"""What comes as deltas and is said again when done."""


_RUN_THERE = ("mcp_call", "code_interpreter_call", "web_search_call", "file_search_call", "image_generation_call")
"""Calls of tools that the provider runs, which may fail."""


class _Responses:
    """`background`: it was queued first; `failed`: it breaks off with an error."""

    def __init__(self, events: list[Event], *, background: bool = False, failed: bool = False) -> None:
        self.items: list[Event] = []
        self.done: dict[int, Event] = {}
        self.texts: dict[tuple[str, int, int], str] = {}
        self.texts_done: dict[tuple[str, int, int], str] = {}
        self.parts: dict[tuple[str, int, int], Event | None] = {}
        _need([event["sequence_number"] for event in events] == list(range(len(events))), "sequence_number")
        begins = [f"response.{name}" for name in ("created", *(["queued"] if background else []), "in_progress")]
        ends = 2 if failed else 1
        first = [event["type"] for event in events[: min(len(begins), len(events) - ends)]]
        _need(first == begins or (failed and first == begins[:-1]), f"the first events are {first}")
        _need(events[0]["response"]["status"] in ("in_progress", "queued"), "created with a final status")
        _need(events[0]["response"]["output"] == [], "created with output")
        last = events[-1]
        finals = ["response.failed"] if failed else ["response.completed", "response.incomplete"]
        _need(last["type"] in finals, f"the last event is {last['type']}")
        _need(last["type"] == f"response.{last['response']['status']}", "the status is not the last event's")
        if failed:
            _need(events[-2]["type"] == "error", f"{events[-2]['type']} before the failure")
            _need(events[-2]["message"] and "code" in events[-2], "an error without its message or code")
            _need(last["response"]["error"]["message"], "a failure without its message")
        ids = {event["response"]["id"] for event in events if "response" in event}
        _need(len(ids) == 1, "the response's id changes")
        for event in events[len(first) : -ends]:
            self.take(event)
        if failed:
            self.broken_off(last["response"])
        else:
            self.end(last["response"])

    def broken_off(self, final: Event) -> None:
        """Every item that began is there, the finished ones as they were told; some providers tell none."""
        if not final["output"]:
            return
        _need([item["id"] for item in final["output"]] == [item["id"] for item in self.items], "the failed output")
        for index, item in self.done.items():
            _need(final["output"][index] == item, "a finished item is another one in the failed output")

    def take(self, event: Event) -> None:
        kind = event["type"]
        index = event.get("output_index")
        if kind == "response.output_item.added":
            _need(index == len(self.items), "items are not numbered 0, 1, …")
            _need(event["item"]["id"] not in {item["id"] for item in self.items}, "two items have one id")
            self.items.append(event["item"])
            return
        _need(isinstance(index, int), f"{kind} without output_index")
        assert isinstance(index, int)
        _need(index < len(self.items) and index not in self.done, f"{kind} outside its item")
        if kind == "response.output_item.done":
            item = event["item"]
            _need(item["id"] == self.items[index]["id"], "an item changes its id")
            _need(item["type"] == self.items[index]["type"], "an item changes its type")
            ends = ("completed", "incomplete", "failed") if item["type"] in _RUN_THERE else ("completed", "incomplete")
            _need(item.get("status") in (None, *ends), "an item is done but not complete")
            self.done[index] = item
            return
        _need(event["item_id"] == self.items[index]["id"], f"{kind} names another item")
        if kind.endswith("_part.added"):
            place = (kind.removesuffix(".added"), index, _number(event))
            _need(place not in self.parts, "a part begins twice")
            same = [key for key in self.parts if key[:2] == place[:2]]
            _need(place[2] == len(same), "parts are not numbered 0, 1, …")
            self.parts[place] = None
        elif kind.endswith("_part.done"):
            place = (kind.removesuffix(".done"), index, _number(event))
            _need(place in self.parts and self.parts[place] is None, "a part is done that never began")
            self.parts[place] = event["part"]
        elif (base := kind.rpartition(".")[0]) in _TEXTS:
            self.text(base, index, event)
        elif kind != "response.output_text.annotation.added":
            _need(kind.rpartition(".")[0].endswith("_call"), f"{kind} is not known here")

    def text(self, base: str, index: int, event: Event) -> None:
        field, counter = _TEXTS[base]
        place = (base, index, event[counter] if counter else 0)
        if counter:
            part = "response.content_part" if counter == "content_index" else "response.reasoning_summary_part"
            _need(self.parts.get((part, index, event[counter]), 0) is None, f"{base} outside its part")
        _need(place not in self.texts_done, f"{base} after its end")
        if event["type"].endswith(".delta"):
            self.texts[place] = self.texts.get(place, "") + event["delta"]
        else:
            _need(event[field] == self.texts.get(place, ""), f"{base}.done is not what its deltas say")
            self.texts_done[place] = event[field]

    def end(self, final: Event) -> None:
        _need(len(self.done) == len(self.items), "an item is never done")
        _need(all(part is not None for part in self.parts.values()), "a part is never done")
        _need(self.texts.keys() <= self.texts_done.keys(), "a text is never done")
        _need(final["output"] == [self.done[index] for index in range(len(self.items))], "the output is not its items")
        for index, item in self.done.items():
            self.item(index, item)

    def item(self, index: int, item: Event) -> None:
        """Whether an item is what its deltas and parts say."""
        for name, part in (("content", "response.content_part"), ("summary", "response.reasoning_summary_part")):
            parts = [value for key, value in sorted(self.parts.items(), key=_order) if key[:2] == (part, index)]
            _need((item.get(name) or []) == parts or item["type"] not in ("message", "reasoning"), f"{name}'s parts")
        for (base, at, number), text in self.texts_done.items():
            if at != index:
                continue
            field, counter = _TEXTS[base]
            if counter is None:
                _need(item[field] == text or base.endswith("code"), f"an item's {field} is not its deltas'")
            else:
                where = "content" if counter == "content_index" else "summary"
                _need(item[where][number][field] == text, f"a part's {field} is not its deltas'")
        if item["type"] in ("function_call", "custom_tool_call"):
            base = "function_call_arguments" if item["type"] == "function_call" else "custom_tool_call_input"
            _need((f"response.{base}", index, 0) in self.texts_done, "a call without its arguments' events")


def _order(entry: tuple[tuple[str, int, int], Any]) -> tuple[str, int, int]:
    return entry[0]


def _number(event: Event) -> int:
    number = event.get("content_index", event.get("summary_index"))
    assert isinstance(number, int)
    return number


_JUDGES: dict[str, Callable[[list[Event]], object]] = {RESPONSES: _Responses, MESSAGES: _messages, GEMINI: _gemini}
