"""A provider that refuses what the real ones refuse: seals that are missing, altered or somebody else's, in the wrong
place, and fields that it does not know. One server stands for every provider; the first part of the path names it.

A question is answered in three steps: two calls at once, a call without arguments, a text; each with reasoning.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from upstream import Call

Json = dict[str, Any]
SKIP = "skip_thought_signature_validator"
ANSWER = "It is done."


class Refused(Exception):
    """What the real provider answers with 400."""


def need(condition: object, message: str) -> None:
    if not condition:
        raise Refused(message)


@dataclass
class Strict:
    """`issued`: seal → what it seals; `before`: a call's id → the seals that must stand before it.

    `foreign`: calls that this provider did not make may come without seals, and reasoning may be off; `ids`: whether
    calls have identifiers in the format that may do without.
    """

    foreign: bool = False
    ids: bool = True
    issued: dict[str, Any] = field(default_factory=dict)
    before: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    count: Iterator[int] = field(default_factory=itertools.count)

    async def __call__(self, call: Call) -> None:
        # (what a provider sealed in one of its formats it does not look for in another)
        provider, _, rest = call.path.lstrip("/").partition("/")
        body = call.json
        try:
            if rest.endswith("messages"):
                await self._messages(call, provider, body)
            elif rest.endswith("responses"):
                await self._responses(call, f"{provider}:responses", body)
            elif rest.endswith("completions"):
                await self._chat(call, provider, body)
            else:
                await self._generate(call, provider, body, "stream" in rest)
        except Refused as refused:
            self.refusals.append(f"{call.path}: {refused}")
            await call.answer({"error": {"type": "invalid_request_error", "code": 400, "message": str(refused)}}, 400)

    def seal(self, provider: str, what: Any) -> str:
        text = base64.b64encode(f"{provider}/seal/{next(self.count)}+?".encode()).decode()
        self.issued[text] = what
        return text

    def calls(self, provider: str, step: int, *seals: str) -> list[tuple[str, str, Json]]:
        """(id, name, arguments) of the calls of a step."""
        made: list[tuple[str, str, Json]] = []
        for name, arguments in ((("weather", {"city": "Äa"}), ("weather", {"city": "b"})), (("now", {}),))[step]:
            call_id = f"toolu_{provider.partition(':')[0]}{next(self.count)}"
            self.before[provider, call_id] = list(seals)
            made.append((call_id, name, arguments))
        return made

    def own(self, provider: str, call_id: str) -> bool:
        if (provider, call_id) not in self.before:
            need(self.foreign, f"call {call_id} was never made here")
            return False
        return True

    # messages

    async def _messages(self, call: Call, provider: str, body: Json) -> None:
        thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
        need(thinks or self.foreign, "thinking is off")
        messages = body["messages"]
        step = 0
        for i, message in enumerate(messages):
            need(message["role"] == ("user", "assistant")[i % 2], f"messages.{i}: roles do not alternate")
            content = message["content"]
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            need(blocks, f"messages.{i}: empty content")
            if message["role"] == "user":
                step = step + 1 if blocks[0]["type"] == "tool_result" else 0
                continue
            seen: list[str] = []
            for j, block in enumerate(blocks):
                kind, at = block["type"], f"messages.{i}.content.{j}"
                if kind in ("thinking", "redacted_thinking"):
                    proof = block["signature" if kind == "thinking" else "data"]
                    need(proof in self.issued, f"{at}: Invalid `signature` in `{kind}` block")
                    need(self.issued[proof] == block.get("thinking"), f"{at}: `thinking` blocks cannot be modified")
                    seen.append(proof)
                elif kind == "tool_use":
                    need(set(block) <= {"type", "id", "name", "input", "cache_control"}, f"{at}: extra inputs: {block}")
                    if self.own(provider, block["id"]):
                        wanted = self.before[provider, block["id"]]
                        need(seen == wanted, f"{at}: Expected `thinking`, but found `tool_use`")
            used = [block["id"] for block in blocks if block["type"] == "tool_use"]
            if used:
                answers = messages[i + 1]["content"][: len(used)]
                need([b.get("tool_use_id") for b in answers] == used, f"messages.{i}: `tool_use` without `tool_result`")
        await self._reply_messages(call, provider, body, min(step, 2))

    async def _reply_messages(self, call: Call, provider: str, body: Json, step: int) -> None:
        thought = f"Let me think. {next(self.count)} ä"
        proof, hidden = self.seal(provider, thought), self.seal(provider, None)
        content: list[Json] = [
            {"type": "thinking", "thinking": thought, "signature": proof},
            {"type": "redacted_thinking", "data": hidden},
        ]
        if step < 2:
            content.append({"type": "text", "text": "One moment."})
            for call_id, name, arguments in self.calls(provider, step, proof, hidden):
                content.append({"type": "tool_use", "id": call_id, "name": name, "input": arguments})
        else:
            content.append({"type": "text", "text": ANSWER})
        reason = "tool_use" if step < 2 else "end_turn"
        usage = {"input_tokens": 9, "output_tokens": 9}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
        if not body.get("stream"):
            end = {"stop_reason": reason, "stop_sequence": None}
            await call.answer({**head, "content": content, **end, "usage": usage})
            return
        events: list[Json] = [
            {"type": "message_start", "message": {**head, "content": [], "stop_reason": None, "usage": usage}}
        ]
        for i, block in enumerate(content):
            start, deltas = dict(block), []
            if block["type"] == "thinking":
                start |= {"thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": half} for half in (thought[:5], thought[5:])]
                deltas.append({"type": "signature_delta", "signature": proof})
            elif block["type"] == "text":
                start["text"] = ""
                deltas = [{"type": "text_delta", "text": block["text"]}]
            elif block["type"] == "tool_use":
                start["input"] = {}
                text = json.dumps(block["input"]) if block["input"] else ""
                deltas = [{"type": "input_json_delta", "partial_json": text}]
            events.append({"type": "content_block_start", "index": i, "content_block": start})
            events += [{"type": "content_block_delta", "index": i, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": i})
        events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage})
        await _stream(call, [*events, {"type": "message_stop"}], named=True)

    # responses

    async def _responses(self, call: Call, provider: str, body: Json) -> None:
        need(body.get("store") is False, "store is on")
        asked = body.get("reasoning", {})
        need(self.foreign or asked.get("effort") or asked.get("max_tokens"), "reasoning is off")
        need("reasoning.encrypted_content" in body.get("include", ()), "encrypted reasoning is not asked for")
        items = body["input"] if isinstance(body["input"], list) else []
        step, seen = 0, []
        for i, item in enumerate(items):
            kind = item.get("type", "message")
            if kind == "message":
                if item["role"] == "user":
                    step, seen = 0, []
            elif kind == "reasoning":
                need(isinstance(item.get("summary"), list), f"input[{i}].summary is missing")
                proof = item.get("encrypted_content")
                if proof is None and provider.startswith("openrouter"):  # it takes plain text, too
                    continue
                need(proof in self.issued, f"input[{i}]: the encrypted content could not be verified: {item}")
                need(self.issued[proof] == item["id"], f"input[{i}]: the encrypted content is another item's: {item}")
                seen = [*seen, proof]
            elif kind == "function_call":
                known = {"type", "id", "call_id", "name", "arguments", "status"}
                need(set(item) <= known, f"input[{i}]: unknown parameter in {item}")
                if self.own(provider, item["call_id"]):
                    wanted = self.before[provider, item["call_id"]]
                    need(seen[-1:] == wanted, f"input[{i}]: the required reasoning is missing")
                answers = [r.get("call_id") for r in items if r.get("type") == "function_call_output"]
                need(item["call_id"] in answers, f"no tool output found for function call {item['call_id']}")
            elif kind == "function_call_output":
                if items[i - 1].get("type") != kind:
                    step += 1
            else:
                need(False, f"input[{i}]: unknown type {kind}")
        await self._reply_responses(call, provider, body, min(step, 2))

    async def _reply_responses(self, call: Call, provider: str, body: Json, step: int) -> None:
        rs = f"rs_{next(self.count)}"
        proof = self.seal(provider, rs)
        summary = [{"type": "summary_text", "text": "I thought about it."}]
        output: list[Json] = [{"id": rs, "type": "reasoning", "summary": summary, "encrypted_content": proof}]
        if step < 2:
            for call_id, name, arguments in self.calls(provider, step, proof):
                output.append(
                    {
                        "id": f"fc_{next(self.count)}", "type": "function_call", "call_id": call_id, "name": name,
                        "arguments": json.dumps(arguments), "status": "completed",
                    }
                )  # fmt: skip
        else:
            part = {"type": "output_text", "text": ANSWER, "annotations": [], "logprobs": []}
            output.append(
                {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
            )
        usage = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
        head = {"id": "resp_1", "object": "response", "created_at": 1, "model": body["model"]}
        whole = {**head, "status": "completed", "output": output, "usage": usage}
        if not body.get("stream"):
            await call.answer(whole)
            return
        events: list[Json] = [{"type": "response.created", "response": {**head, "status": "in_progress", "output": []}}]
        for i, item in enumerate(output):
            at = {"output_index": i, "item_id": item["id"]}
            if item["type"] == "reasoning":
                start = {**item, "summary": [], "encrypted_content": ""}
                delta: Json = {"type": "response.reasoning_summary_text.delta", "summary_index": 0}
                delta["delta"] = summary[0]["text"]
            elif item["type"] == "function_call":
                start = {**item, "arguments": "", "status": "in_progress"}
                delta = {"type": "response.function_call_arguments.delta", "delta": item["arguments"]}
            else:
                start = {**item, "content": [], "status": "in_progress"}
                delta = {"type": "response.output_text.delta", "content_index": 0, "delta": ANSWER}
            events.append({"type": "response.output_item.added", "output_index": i, "item": start})
            if item["type"] == "message":
                part = {"type": "output_text", "text": "", "annotations": []}
                events.append({"type": "response.content_part.added", **at, "content_index": 0, "part": part})
            events.append({**delta, **at})
            events.append({"type": "response.output_item.done", "output_index": i, "item": item})
        events.append({"type": "response.completed", "response": whole})
        await _stream(call, [{**event, "sequence_number": i} for i, event in enumerate(events)], named=True)

    # chat completions

    async def _chat(self, call: Call, provider: str, body: Json) -> None:
        asked = body.get("reasoning_effort") or body.get("reasoning") or body.get("thinking")
        need(asked or self.foreign, "reasoning is off")
        extra = set() if provider == "openai" else {"reasoning_content"}
        extra |= {"reasoning", "reasoning_details"} if provider == "openrouter" else set()
        step = 0
        messages = body["messages"]
        for i, message in enumerate(messages):
            known = {"role", "content", "tool_calls", "tool_call_id", "name", "refusal"} | extra
            need(set(message) <= known, f"messages[{i}]: unknown fields in {sorted(message)}")
            if message["role"] == "user":
                step = 0
            elif message["role"] == "tool":
                step += messages[i - 1]["role"] != "tool"
            made = message.get("tool_calls") or []
            for used in made:
                need(set(used) <= {"id", "type", "function"}, f"messages[{i}]: unknown fields in {used}")
                if not self.own(provider, used["id"]) or provider not in ("deepseek", "openrouter"):
                    continue
                if provider == "deepseek":
                    told = [message.get("reasoning_content")]
                else:
                    details = message.get("reasoning_details") or []
                    told = [one.get("signature") for one in details]
                    for one in details:
                        need(one.get("text") == self.issued.get(one.get("signature")), f"messages[{i}]: bad signature")
                wanted = self.before[provider, used["id"]]
                need(told == wanted, f"messages[{i}]: the reasoning must be passed back: {told}")
            answered = [m["tool_call_id"] for m in messages[i + 1 : i + 1 + len(made)] if m["role"] == "tool"]
            need(answered == [used["id"] for used in made], f"messages[{i}]: `tool_calls` must be followed by tools")
        await self._reply_chat(call, provider, body, min(step, 2))

    async def _reply_chat(self, call: Call, provider: str, body: Json, step: int) -> None:
        thought = f"Hm. {next(self.count)} ä"
        message: Json = {"role": "assistant", "content": ANSWER if step == 2 else None}
        seals = [thought]
        if provider == "openrouter":
            seals = [self.seal(provider, thought)]
            detail = {"type": "reasoning.text", "text": thought, "signature": seals[0], "index": 0}
            message |= {"reasoning": thought, "reasoning_details": [{**detail, "format": "anthropic-claude-v1"}]}
        elif provider != "openai":
            message["reasoning_content"] = thought
        if step < 2:
            message["tool_calls"] = [
                {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                for call_id, name, arguments in self.calls(provider, step, *seals)
            ]
        reason = "tool_calls" if step < 2 else "stop"
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        head = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            await call.answer({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += [{name: message[name]} for name in ("reasoning_content", "reasoning") if name in message]
        if "reasoning_details" in message:
            detail = message["reasoning_details"][0]
            deltas[-1]["reasoning_details"] = [{key: value for key, value in detail.items() if key != "signature"}]
            rest = {key: value for key, value in detail.items() if key != "text"}
            deltas.append({"reasoning_details": [rest]})
        deltas += [{"content": ANSWER}] if step == 2 else []
        deltas += [{"tool_calls": [{"index": i, **made}]} for i, made in enumerate(message.get("tool_calls", ()))]
        chunks: list[Json] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        chunks.append({"choices": [], "usage": usage})
        await _stream(call, [{**head, "object": "chat.completion.chunk", **chunk} for chunk in chunks], end="[DONE]")

    # generateContent

    async def _generate(self, call: Call, provider: str, body: Json, stream: bool) -> None:
        thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
        need(self.foreign or thinking.get("thinkingLevel") or thinking.get("thinkingBudget"), "thinking is off")
        step = 0
        contents = body["contents"]
        for i, content in enumerate(contents):
            parts = content["parts"]
            need(parts, f"contents[{i}]: no parts")
            if content["role"] == "user":
                step = step + 1 if "functionResponse" in parts[0] else 0
                continue
            made = [part for part in parts if "functionCall" in part]
            for part in parts:
                proof = part.get("thoughtSignature")
                if proof is None or (proof == SKIP and self.foreign):
                    continue
                need(proof in self.issued, f"contents[{i}]: the thought signature is not valid")
                named = part.get("functionCall", {})
                sealed = [named.get("name"), named.get("args")] if named else part.get("text")
                need(self.issued[proof] == sealed, f"contents[{i}]: the thought signature is another part's")
            if made:
                need("thoughtSignature" in made[0], f"contents[{i}]: function call is missing a thought_signature")
                answers = [part["functionResponse"]["name"] for part in contents[i + 1]["parts"]]
                names = [part["functionCall"]["name"] for part in made]
                need(answers[: len(names)] == names, f"contents[{i}]: the function responses do not fit the calls")
        await self._reply_generate(call, provider, min(step, 2), stream)

    async def _reply_generate(self, call: Call, provider: str, step: int, stream: bool) -> None:
        parts: list[Json] = [{"text": "Considering.", "thought": True}]
        if step < 2:
            for n, (call_id, name, arguments) in enumerate(self.calls(provider, step)):
                part: Json = {"functionCall": {"name": name, "args": arguments}}
                if self.ids:
                    part["functionCall"]["id"] = call_id
                if n == 0:
                    part["thoughtSignature"] = self.seal(provider, [name, arguments])
                parts.append(part)
        else:
            parts.append({"text": ANSWER, "thoughtSignature": self.seal(provider, ANSWER)})
        usage = {"promptTokenCount": 9, "candidatesTokenCount": 5, "thoughtsTokenCount": 4, "totalTokenCount": 18}
        head: Json = {"usageMetadata": usage, "responseId": "r1", "modelVersion": "m"}
        if not stream:
            one = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
            await call.answer({"candidates": [one], **head})
            return
        chunks: list[Json] = [{"content": {"role": "model", "parts": [part]}, "index": 0} for part in parts]
        chunks[-1]["finishReason"] = "STOP"
        await _stream(call, [{"candidates": [chunk], **head} for chunk in chunks])


async def _stream(call: Call, events: list[Json], *, named: bool = False, end: str | None = None) -> None:
    await call.begin_stream()
    for event in events:
        await call.event(event, event["type"] if named else None)
    if end is not None:
        await call.event(end.encode())
    await call.end_stream()
