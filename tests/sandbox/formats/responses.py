"""Requests, whole answers and streams of one format."""

from __future__ import annotations

from typing import Any, ClassVar

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from .answer import Answer

_RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


class Responses:
    finishes: ClassVar = {
        "stop": "completed",
        "length": "incomplete",
        "calls": "completed",
        "refusal": "completed",
        "sequence": None,
    }

    def request(self, text: Any, stream: bool, **options: Any) -> tuple[str, dict[str, Any]]:
        content = text
        if options.get("image"):
            image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
            content = [{"type": "input_text", "text": text}, image]
        items: list[dict[str, Any]] = [{"role": "user", "content": content}]
        for name, arguments, result in options.get("turns", ()):
            items.append({"type": "function_call", "call_id": "call_1", "name": name, "arguments": arguments})
            items.append({"type": "function_call_output", "call_id": "call_1", "output": result})
        if "more" in options:
            items.append({"role": "user", "content": options["more"]})
        body: dict[str, Any] = {"model": "m", "input": items, "stream": stream}
        if "tools" in options:
            body["tools"] = [
                {"type": "function", "name": n, "parameters": s, "strict": True} for n, s in options["tools"].items()
            ]
        if "choice" in options:
            named = {"type": "function", "name": options["choice"]}
            body["tool_choice"] = {"any": "required", "none": "none"}.get(options["choice"], named)
        if options.get("serial"):
            body["parallel_tool_calls"] = False
        if options.get("reasoning"):
            body["reasoning"] = {"effort": "low", "summary": "auto"}
            body["include"] = ["reasoning.encrypted_content"]
        if "limit" in options:
            body["max_output_tokens"] = options["limit"]
        if "schema" in options:
            body["text"] = {"format": {"type": "json_schema", "name": "x", "schema": options["schema"]}}
        return "/openai/responses", body

    def whole(self, body: Any) -> Answer:
        Response.model_validate(body)
        out = Answer(finish=body["status"], id=body["id"])
        for item in body["output"]:
            if item["type"] == "reasoning":
                out.reasoning = item["summary"][0]["text"]
                out.seal = item.get("encrypted_content", "")
            elif item["type"] == "message":
                assert item["status"] == body["status"]
                part = item["content"][0]
                out.text, out.refusal = part.get("text", ""), part.get("refusal", "")
            else:
                out.calls.append((item["call_id"], item["name"], item["arguments"]))
        if body["status"] == "incomplete":
            assert body["incomplete_details"] == {"reason": "max_output_tokens"}
        usage = body["usage"]
        if usage is not None:
            assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
            out.usage = {
                "input": usage["input_tokens"],
                "output": usage["output_tokens"],
                "reasoning": usage["output_tokens_details"]["reasoning_tokens"],
                "cached": usage["input_tokens_details"]["cached_tokens"],
            }
        return out

    def fold(self, events: list[tuple[str | None, Any]]) -> Answer:
        names = [name for name, _ in events]
        assert names[:2] == ["response.created", "response.in_progress"]
        items: dict[int, Any] = {}
        parts: dict[tuple[Any, ...], str] = {}
        open_parts: set[tuple[Any, ...]] = set()
        for n, (name, payload) in enumerate(events):
            _RESPONSE_EVENT.validate_python(payload)
            assert payload["type"] == name
            assert payload["sequence_number"] == n
            place = tuple(payload.get(k) for k in ("item_id", "output_index", "content_index", "summary_index"))
            if name == "response.output_item.added":
                assert payload["output_index"] == len(items)
                items[payload["output_index"]] = payload["item"] | {"open": True}
            elif name == "response.output_item.done":
                assert items[payload["output_index"]].pop("open")
                assert items[payload["output_index"]]["id"] == payload["item"]["id"]
                items[payload["output_index"]] = payload["item"]
            elif name and name.endswith("part.added"):
                open_parts.add(place)
            elif name and name.endswith("part.done"):
                open_parts.remove(place)
                assert parts[place] in payload["part"].values()
            elif name and name.endswith(".delta"):
                assert items[payload["output_index"]]["open"]
                assert items[payload["output_index"]]["id"] == payload["item_id"]
                parts[place] = parts.get(place, "") + payload["delta"]
            elif name and name.endswith(".done"):
                texts = [payload.get(k) for k in ("text", "refusal", "arguments")]
                assert parts[place] in texts
        if names[-2] == "error":
            assert names[-1] == "response.failed"
            return Answer(error=events[-2][1], events=events)
        final = events[-1][1]["response"]
        assert names[-1] == f"response.{final['status']}"
        assert not open_parts
        assert final["output"] == list(items.values())
        out = self.whole(final)
        out.events = events
        return out
