"""The recorded exchanges, as the index lists them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from nexeon.wire.json import loads
from nexeon.wire.sse import Event, SSEParser

CHAT = "openai.chat"
RESPONSES = "openai.responses"
MESSAGES = "anthropic.messages"
GEMINI = "gemini.generate_content"
FORMATS = (CHAT, RESPONSES, MESSAGES, GEMINI)
SHORT = {CHAT: "chat", RESPONSES: "responses", MESSAGES: "messages", GEMINI: "gemini"}

_FORMAT_OF_API = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES, "generateContent": GEMINI}
PROVIDER_APIS = (
    "anthropic.messages",
    "deepseek.chat",
    "gemini.generateContent",
    "openai.chat",
    "openai.responses",
    "openrouter.chat",
    "openrouter.responses",
    "xai.chat",
    "xai.responses",
)


@dataclass(frozen=True)
class Case:
    """One recorded exchange: what was asked (where it was recorded), what came back, and what that says."""

    name: str
    provider: str
    api: str
    stream: bool
    model: str
    features: frozenset[str]
    folder: Path
    status: int = 200

    @property
    def format(self) -> str:
        return _FORMAT_OF_API[self.api]

    @property
    def provider_api(self) -> str:
        return f"{self.provider}.{self.api}"

    @cached_property
    def expect(self) -> dict[str, Any]:
        return json.loads((self.folder / "expect.json").read_bytes())

    @cached_property
    def request(self) -> dict[str, Any] | None:
        path = self.folder / "request.json"
        return json.loads(path.read_bytes()) if path.exists() else None

    @property
    def raw(self) -> bytes:
        streamed = self.stream and self.status == 200
        return (self.folder / ("response.sse" if streamed else "response.json")).read_bytes()

    @cached_property
    def body(self) -> Any:
        return loads(self.raw)

    @cached_property
    def sse(self) -> list[Event]:
        return parse_sse(self.raw)

    def events(self) -> Iterator[Any]:
        """The JSON of each event, without the terminator."""
        for event in self.sse:
            if event.data != b"[DONE]":
                yield loads(event.data)


def parse_sse(raw: bytes) -> list[Event]:
    parser = SSEParser()
    return [*parser.feed(raw), *parser.end()]


def core_cases(folder: Path, *, failed: bool = False) -> list[Case]:
    """Every answer that a provider really gave: tier core, recorded, status 200; `failed`: every other status."""
    with (folder / "INDEX.tsv").open(newline="") as file:
        return [
            Case(
                name=row["case"],
                provider=row["provider"],
                api=row["api"],
                stream=row["stream"] == "1",
                model=row["model"] or "unknown",
                features=frozenset(row["features"].split(",")),
                folder=folder / row["case"],
                status=int(row["status"]),
            )
            for row in csv.DictReader(file, delimiter="\t")
            if row["tier"] == "core" and row["provenance"] == "recorded" and (row["status"] == "200") != failed
        ]


class Exceptions:
    """`exceptions.yaml`: what cannot hold, one by one."""

    def __init__(self, path: Path) -> None:
        self._entries: dict[tuple[str, str], list[dict[str, Any]]] = {}
        data = yaml.safe_load(path.read_text()) or []
        for entry in data:
            for case in entry["cases"]:
                self._entries.setdefault((case, entry["judge"]), []).append(entry)

    def reason(self, case: str, judge: str, client: str, layer: str) -> str | None:
        """Why a judge's verdict on a case does not count for a client format; None where it does."""
        for entry in self._entries.get((case, judge), ()):
            if client in entry.get("clients", [client]) and layer in entry.get("layers", [layer]):
                return str(entry["reason"])
        return None
