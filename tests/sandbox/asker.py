"""Asks the sandbox in one format and mode."""

from __future__ import annotations

from typing import Any

import httpx
import orjson

from .formats import FORMATS, Answer


class Asker:
    def __init__(self, http: httpx.AsyncClient, name: str, stream: bool) -> None:
        self.http = http
        self.name = name
        self.stream = stream
        self.format: Any = FORMATS[name]()
        self.finishes: dict[str, str | None] = self.format.finishes

    async def post(self, text: Any, **options: Any) -> httpx.Response:
        path, body = self.format.request(text, self.stream, **options)
        return await self.http.post(path, content=orjson.dumps(body))

    async def ask(self, text: Any, **options: Any) -> Answer:
        response = await self.post(text, **options)
        assert response.status_code == 200, response.text
        if not self.stream:
            assert response.headers["content-type"].startswith("application/json")
            return self.format.whole(response.json())
        assert response.headers["content-type"].startswith("text/event-stream")
        return self.format.fold(self.events(response.content))

    def events(self, raw: bytes) -> list[tuple[str | None, Any]]:
        end = b"\r\n\r\n" if self.name == "gemini" else b"\n\n"
        assert raw.endswith(end)
        assert (b"\r" in raw) == (self.name == "gemini")
        events: list[tuple[str | None, Any]] = []
        for block in raw.split(end)[:-1]:
            name, lines = None, block.split(b"\n")
            if lines[0].startswith(b"event: "):
                name = lines.pop(0)[7:].decode()
            assert len(lines) == 1
            assert lines[0].startswith(b"data: ")
            data = lines[0][6:]
            events.append((name, "[DONE]" if data == b"[DONE]" else orjson.loads(data)))
        return events
