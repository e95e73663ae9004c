"""Clients that ask without a pause and look at every answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Told:
    """`failures` are sentences, `seconds` how long each good answer took."""

    answers: int = 0
    streams: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def line(self) -> str:
        ordered = sorted(self.seconds) or [0.0]
        p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
        return (
            f"{self.answers} answers and {self.streams} streams, {len(self.failures)} failed; "
            f"an answer took {p50:.1f} ms (p50), {p99:.1f} ms (p99), {ordered[-1] * 1000:.0f} ms at most"
        )


@asynccontextmanager
async def asking(
    url: str, headers: dict[str, str], path: str, body: dict[str, Any], stream: dict[str, Any], *, end: str,
    clients: int = 4, streams: int = 4,
) -> AsyncIterator[Told]:  # fmt: skip
    """`body` is asked by so many clients at a time, `stream` by so many others: theirs must come to `end`."""
    told = Told()
    stopping = False

    async def answers(http: httpx.AsyncClient) -> None:
        while not stopping:
            began = time.perf_counter()
            try:
                answer = await http.post(path, json=body)
            except httpx.TransportError as error:
                told.failures.append(repr(error))
                continue
            if answer.status_code == 200:
                told.answers += 1
                told.seconds.append(time.perf_counter() - began)
            else:
                told.failures.append(f"{answer.status_code} {answer.text[:200]}")

    async def events(http: httpx.AsyncClient) -> None:
        while not stopping:
            try:
                answer = await http.post(path, json=stream)
            except httpx.TransportError as error:
                told.failures.append(f"a stream: {error!r}")
                continue
            if answer.status_code == 200 and end in answer.text[-200:]:
                told.streams += 1
            else:
                told.failures.append(f"a stream: {answer.status_code} …{answer.text[-200:]}")

    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
        tasks = [asyncio.create_task(answers(http)) for _ in range(clients)]
        tasks += [asyncio.create_task(events(http)) for _ in range(streams)]
        yield told
        stopping = True
        await asyncio.gather(*tasks)
