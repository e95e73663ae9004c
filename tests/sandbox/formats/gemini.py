"""Requests, whole answers and streams of one format."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
from google.genai.types import GenerateContentResponse

from .answer import Answer


class Gemini:
    finishes: ClassVar = {
        "stop": "STOP",
        "length": "MAX_TOKENS",
        "calls": "STOP",
        "refusal": "SAFETY",
        "sequence": "STOP",
    }

    def request(self, text: Any, stream: bool, **options: Any) -> tuple[str, dict[str, Any]]:
        parts: list[dict[str, Any]] = [{"text": text}]
        if options.get("image"):
            parts.append({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})
        contents: list[dict[str, Any]] = [{"role": "user", "parts": parts}]
        for name, arguments, result in options.get("turns", ()):
            call = {"functionCall": {"name": name, "args": orjson.loads(arguments)}}
            contents.append({"role": "model", "parts": [call]})
            output = {"functionResponse": {"name": name, "response": {"result": result}}}
            contents.append({"role": "user", "parts": [output]})
        if "more" in options:
            contents.append({"role": "user", "parts": [{"text": options["more"]}]})
        config: dict[str, Any] = {}
        body: dict[str, Any] = {"contents": contents, "generationConfig": config}
        if "tools" in options:
            declared = [{"name": n, "parametersJsonSchema": s} for n, s in options["tools"].items()]
            body["tools"] = [{"functionDeclarations": declared}]
        if "choice" in options:
            named = {"mode": "ANY", "allowedFunctionNames": [options["choice"]]}
            chosen = {"any": {"mode": "ANY"}, "none": {"mode": "NONE"}}.get(options["choice"], named)
            body["toolConfig"] = {"functionCallingConfig": chosen}
        if options.get("reasoning"):
            config["thinkingConfig"] = {"includeThoughts": True}
        if "limit" in options:
            config["maxOutputTokens"] = options["limit"]
        if "stop" in options:
            config["stopSequences"] = [options["stop"]]
        if "schema" in options:
            config |= {"responseMimeType": "application/json", "responseJsonSchema": options["schema"]}
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/gemini/models/m:{method}", body

    def whole(self, body: Any) -> Answer:
        GenerateContentResponse.model_validate(body)
        candidate = body["candidates"][0]
        out = Answer(finish=candidate.get("finishReason"), id=body["responseId"])
        out.refusal = candidate.get("finishMessage", "")
        for part in candidate["content"].get("parts", ()):
            out.seal = out.seal or part.get("thoughtSignature", "")
            if "functionCall" in part:
                call = part["functionCall"]
                out.calls.append(("", call["name"], orjson.dumps(call["args"]).decode()))
            elif part.get("thought"):
                out.reasoning += part["text"]
            else:
                out.text += part["text"]
        usage = body["usageMetadata"]
        candidates, thoughts = usage.get("candidatesTokenCount", 0), usage.get("thoughtsTokenCount", 0)
        assert usage["totalTokenCount"] == usage["promptTokenCount"] + candidates + thoughts
        out.usage = {
            "input": usage["promptTokenCount"],
            "output": candidates + thoughts,
            "reasoning": thoughts,
            "cached": usage.get("cachedContentTokenCount", 0),
        }
        return out

    def fold(self, events: list[tuple[str | None, Any]]) -> Answer:
        out = Answer(events=events)
        for n, (name, payload) in enumerate(events):
            assert name is None
            if "error" in payload:
                assert n == len(events) - 1
                out.error = payload
                break
            piece = self.whole(payload)
            assert (piece.finish is not None) == (n == len(events) - 1) or "error" in events[-1][1]
            out.text += piece.text
            out.reasoning += piece.reasoning
            out.calls += piece.calls
            out.seal = out.seal or piece.seal
            out.finish, out.usage, out.refusal, out.id = piece.finish, piece.usage, piece.refusal, piece.id
        return out
