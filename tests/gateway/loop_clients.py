"""Clients that run tool loops with thinking on, as those of each format do.

One with `keeps` sends back all that it got; the others only what an answer says: no reasoning, and no fields of a call
beside its name and arguments.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

import httpx

Json = dict[str, Any]
PARAMETERS: Json = {"type": "object", "properties": {"city": {"type": "string"}}}
NAMES = ("weather", "now")


class LoopClient(ABC):
    """`ask` answers one question, tool loop included, and returns the text; `calls` are those that were made."""

    def __init__(self, http: httpx.AsyncClient, model: str, *, stream: bool, keeps: bool) -> None:
        self.http = http
        self.model = model
        self.stream = stream
        self.keeps = keeps
        self.history: list[Json] = []
        self.calls: list[tuple[str, Json]] = []

    async def ask(self, question: str) -> str:
        self.say(question)
        for _ in range(9):
            path, body = self.request()
            answer = await self.http.post(path, json=body)
            assert answer.status_code == 200, f"{self.model}: {answer.text}"
            whole = self.joined(_events(answer.text)) if self.stream else answer.json()
            text, calls = self.read(whole)
            if not calls:
                return text
            self.calls += [(name, json.loads(arguments)) for _, name, arguments in calls]
            self.results([(call_id, name, f"{name} says 7") for call_id, name, _ in calls])
        raise AssertionError(f"{self.model}: the loop does not end")

    @abstractmethod
    def say(self, question: str) -> None: ...

    @abstractmethod
    def request(self) -> tuple[str, Json]: ...

    @abstractmethod
    def joined(self, events: list[Json]) -> Json:
        """A stream as the answer that it is."""

    @abstractmethod
    def read(self, answer: Json) -> tuple[str, list[tuple[str, str, str]]]:
        """Text and calls (id, name, arguments); the answer joins the history."""

    @abstractmethod
    def results(self, results: list[tuple[str, str, str]]) -> None: ...


class Messages(LoopClient):
    def say(self, question: str) -> None:
        self.history.append({"role": "user", "content": question})

    def request(self) -> tuple[str, Json]:
        tools = [{"name": name, "input_schema": PARAMETERS} for name in NAMES]
        thinking = {"type": "enabled", "budget_tokens": 2048}
        body = {"model": self.model, "max_tokens": 9000, "thinking": thinking, "tools": tools, "stream": self.stream}
        return "/v1/messages", {**body, "messages": self.history}

    def joined(self, events: list[Json]) -> Json:
        assert events[-1]["type"] == "message_stop", events[-1]
        blocks: list[Json] = []
        for event in events:
            if event["type"] == "content_block_start":
                assert event["index"] == len(blocks)
                blocks.append({**event["content_block"], "json": ""})
            elif event["type"] == "content_block_delta":
                delta, block = event["delta"], blocks[event["index"]]
                for field, name in (("text", "text"), ("thinking", "thinking"), ("partial_json", "json")):
                    block[name] = block.get(name, "") + delta.get(field, "") if field in delta else block.get(name)
                if "signature" in delta:
                    block["signature"] = delta["signature"]
        content = []
        for block in blocks:
            text = block.pop("json")
            if block["type"] == "tool_use":
                block["input"] = json.loads(text or "{}")
            content.append({name: value for name, value in block.items() if value is not None})
        return {"content": content}

    def read(self, answer: Json) -> tuple[str, list[tuple[str, str, str]]]:
        content = answer["content"]
        if not self.keeps:
            content = [block for block in content if block["type"] in ("text", "tool_use")]
        self.history.append({"role": "assistant", "content": content})
        calls = [(b["id"], b["name"], json.dumps(b["input"])) for b in content if b["type"] == "tool_use"]
        return "".join(block["text"] for block in content if block["type"] == "text"), calls

    def results(self, results: list[tuple[str, str, str]]) -> None:
        blocks = [{"type": "tool_result", "tool_use_id": call_id, "content": text} for call_id, _, text in results]
        self.history.append({"role": "user", "content": blocks})


class Chat(LoopClient):
    def say(self, question: str) -> None:
        self.history.append({"role": "user", "content": question})

    def request(self) -> tuple[str, Json]:
        tools = [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in NAMES]
        body = {"model": self.model, "reasoning_effort": "high", "tools": tools, "stream": self.stream}
        return "/v1/chat/completions", {**body, "messages": self.history}

    def joined(self, events: list[Json]) -> Json:
        message: Json = {"role": "assistant", "content": None}
        for event in events:
            for choice in event["choices"]:
                _grow(message, {name: value for name, value in choice["delta"].items() if name != "role"})
        return {"choices": [{"message": message}]}

    def read(self, answer: Json) -> tuple[str, list[tuple[str, str, str]]]:
        message = answer["choices"][0]["message"]
        made = message.get("tool_calls") or []
        if not self.keeps:
            made = [{"id": c["id"], "type": "function", "function": c["function"]} for c in made]
            message = {"role": "assistant", "content": message["content"]} | ({"tool_calls": made} if made else {})
        self.history.append({name: value for name, value in message.items() if value is not None})
        self.history[-1].setdefault("content", None)
        calls = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in made]
        return message["content"] or "", calls

    def results(self, results: list[tuple[str, str, str]]) -> None:
        self.history += [{"role": "tool", "tool_call_id": call_id, "content": text} for call_id, _, text in results]


class Responses(LoopClient):
    def say(self, question: str) -> None:
        self.history.append({"role": "user", "content": question})

    def request(self) -> tuple[str, Json]:
        tools = [{"type": "function", "name": name, "parameters": PARAMETERS, "strict": False} for name in NAMES]
        body = {"model": self.model, "reasoning": {"effort": "high", "summary": "auto"}, "tools": tools}
        wanted = {"include": ["reasoning.encrypted_content"], "store": False, "stream": self.stream}
        return "/v1/responses", {**body, **wanted, "input": self.history}

    def joined(self, events: list[Json]) -> Json:
        assert events[-1]["type"] == "response.completed", events[-1]
        done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        response: Json = events[-1]["response"]
        assert done == response["output"]
        return response

    def read(self, answer: Json) -> tuple[str, list[tuple[str, str, str]]]:
        items = answer["output"]
        text = "".join(part["text"] for item in items if item["type"] == "message" for part in item["content"])
        if not self.keeps:
            said = [{"role": "assistant", "content": text}] if text else []
            names = ("type", "call_id", "name", "arguments")
            items = [{name: i[name] for name in names} for i in items if i["type"] == "function_call"]
            self.history += said
        self.history += items
        return text, [(i["call_id"], i["name"], i["arguments"]) for i in items if i["type"] == "function_call"]

    def results(self, results: list[tuple[str, str, str]]) -> None:
        self.history += [
            {"type": "function_call_output", "call_id": call_id, "output": text} for call_id, _, text in results
        ]


class Generate(LoopClient):
    def say(self, question: str) -> None:
        self.history.append({"role": "user", "parts": [{"text": question}]})

    def request(self) -> tuple[str, Json]:
        declared = [{"name": name, "parametersJsonSchema": PARAMETERS} for name in NAMES]
        config = {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2048}}
        way = "streamGenerateContent?alt=sse" if self.stream else "generateContent"
        body = {"contents": self.history, "tools": [{"functionDeclarations": declared}], "generationConfig": config}
        return f"/v1beta/models/{self.model}:{way}", body

    def joined(self, events: list[Json]) -> Json:
        assert "finishReason" in events[-1]["candidates"][0]
        parts = [part for event in events for part in event["candidates"][0]["content"]["parts"]]
        return {"candidates": [{"content": {"role": "model", "parts": parts}}]}

    def read(self, answer: Json) -> tuple[str, list[tuple[str, str, str]]]:
        parts = answer["candidates"][0]["content"]["parts"]
        if not self.keeps:
            parts = [part for part in parts if not part.get("thought")]
            parts = [{name: part[name] for name in part if name != "thoughtSignature"} for part in parts]
        self.history.append({"role": "model", "parts": parts})
        made = [part["functionCall"] for part in parts if "functionCall" in part]
        text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
        return text, [(call.get("id", ""), call["name"], json.dumps(call["args"])) for call in made]

    def results(self, results: list[tuple[str, str, str]]) -> None:
        parts: list[Json] = []
        for call_id, name, text in results:
            told = {"id": call_id} if call_id else {}
            parts.append({"functionResponse": {**told, "name": name, "response": {"output": text}}})
        self.history.append({"role": "user", "parts": parts})


CLIENTS: dict[str, type[LoopClient]] = {
    "messages": Messages,
    "chat": Chat,
    "responses": Responses,
    "generate": Generate,
}


def _events(text: str) -> list[Json]:
    lines = [line.removeprefix("data: ") for line in text.replace("\r", "").split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def _grow(whole: Json, more: Json) -> None:
    """Puts a delta to what is there: texts one after another, lists by their items' `index`."""
    for name, value in more.items():
        old = whole.get(name)
        if isinstance(value, str) and isinstance(old, str) and name not in ("id", "type", "format"):
            whole[name] = old + value
        elif isinstance(value, dict) and isinstance(old, dict):
            _grow(old, value)
        elif isinstance(value, list):
            held: list[Json] = whole.setdefault(name, []) if old is None else old
            whole[name] = held
            for item in value:
                known = next((one for one in held if one.get("index") == item.get("index")), None)
                if known is None:
                    held.append(dict(item))
                else:
                    _grow(known, {key: part for key, part in item.items() if key != "index"})
        elif value is not None:
            whole[name] = value
