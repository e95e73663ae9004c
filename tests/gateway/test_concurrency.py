"""Nothing of one request is seen in another, however many run at once."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from shipped import UPSTREAMS, shipped
from upstream import Call, Upstream

Json = dict[str, Any]


async def test_many_at_once_do_not_disturb_each_other(upstream: Upstream, tmp_path: Path) -> None:
    """Every client gets its own answer, in every format, with nothing left of the others."""

    async def echo(call: Call) -> None:
        found = re.search(rb"word-(\d+)-", call.body)
        assert found is not None
        word = f"word-{found[1].decode()}-"
        assert call.body.count(b"word-") == 1
        content = [{"type": "text", "text": f"{word} said"}]
        if "anthropic" in call.path:
            await call.answer({"type": "message", "content": content, "stop_reason": "end_turn"})
        elif "gemini" in call.path:
            parts = [{"text": f"{word} said"}]
            await call.answer({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]})
        elif call.path.endswith("responses"):
            part = {"type": "output_text", "text": f"{word} said", "annotations": []}
            item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
            await call.answer({"id": "r", "status": "completed", "output": [item]})
        else:
            message = {"role": "assistant", "content": f"{word} said"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            await call.answer({"id": "c", "created": 1, "model": "m", "choices": [choice]})

    upstream.plays(echo)

    async def ask(number: int) -> str:
        model, text = UPSTREAMS[number % len(UPSTREAMS)], f"word-{number}-"
        said = [{"role": "user", "content": text}]
        shapes: list[tuple[str, Json]] = [
            ("/v1/chat/completions", {"model": model, "messages": said}),
            ("/v1/responses", {"model": model, "input": said}),
            ("/v1/messages", {"model": model, "messages": said, "max_tokens": 500}),
            (f"/v1beta/models/{model}:generateContent", {"contents": [{"role": "user", "parts": [{"text": text}]}]}),
        ]
        path, body = shapes[number // len(UPSTREAMS) % len(shapes)]
        answer = await gate.client.post(path, json=body)
        if answer.status_code != 200:
            return f"{number} {path} {model}: {answer.text}"
        words = set(re.findall(r"word-\d+-", answer.text))
        return "" if words == {text} else f"{number} {path} {model}: {words}"

    async with shipped(upstream, tmp_path) as gate:
        wrong = [told for told in await asyncio.gather(*[ask(number) for number in range(360)]) if told]
    assert wrong == []
