"""Trying a model as a client would: how a prompt is asked in a client's format, and what its answer says.

The request itself is made by whoever tries, at the gateway's public address, with a client's key.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from nexeon.admin import values
from nexeon.admin.views import View, page
from nexeon.errors import AdminError, MappingFailure

LONGEST: Final = 1_000_000
"""Characters of a prompt, or of an answer that is read."""


class Formats(Protocol):
    """The client formats of a running gateway."""

    def names(self) -> list[View]:
        """`{"id": name, "stream": bool}` of the formats that routes serve."""
        ...

    def compose(self, name: str, canonical: dict[str, Any], *, stream: bool) -> View:
        """`{"url", "headers", "body"}` of the request that says `canonical` in that format. Raises AdminError,
        MappingFailure."""
        ...

    def read(self, name: str, model: str, text: str, *, stream: bool, status: int) -> View:
        """The canonical answer in what a client was told, as far as it came: `{"blocks", "finish", "usage"}`, with
        `error` where it says one. Raises AdminError, MappingFailure."""
        ...


class Playground:
    def __init__(self) -> None:
        """`formats` is set by a gateway."""
        self.formats: Formats | None = None

    async def list(self) -> View:
        """The formats that clients can ask in."""
        return page(self._known().names(), None)

    async def compose(
        self, *, format: Any, model: Any, prompt: Any, system: Any = "", stream: Any = True, max_tokens: Any = None
    ) -> View:
        """The request that asks `prompt` of a model in a client format: `{"url", "headers", "body"}`; the key is the
        client's own business. Nothing is sent."""
        for name, value in (("prompt", prompt), ("system", system)):
            if not isinstance(value, str) or len(value) > LONGEST:
                raise AdminError(f"{name}: give text of at most {LONGEST} characters")
        if not prompt.strip():
            raise AdminError("prompt: it must not be empty")
        canonical: dict[str, Any] = {"model": values.text("model", model), "turns": [_turn(prompt)]}
        if system.strip():
            canonical["system"] = [{"type": "text", "text": system}]
        if max_tokens is not None:
            canonical["limits"] = {"max_tokens": values.count("max_tokens", max_tokens, least=1)}
        stream = values.flag("stream", stream)
        try:
            return self._known().compose(values.text("format", format), canonical, stream=stream)
        except MappingFailure as failure:
            raise AdminError(f"the format cannot say this: {failure.message}") from None

    async def read(self, *, format: Any, model: Any, answer: Any, stream: Any = True, status: Any = 200) -> View:
        """What an answer in a client format says, as far as it came: `{"blocks", "finish", "usage", "error"}`.

        `answer` is the body as it was received, with that HTTP status.
        """
        if not isinstance(answer, str) or len(answer) > LONGEST:
            raise AdminError(f"answer: give text of at most {LONGEST} characters")
        name, asked = values.text("format", format), values.text("model", model)
        flag, code = values.flag("stream", stream), values.count("status", status, least=100)
        try:
            return self._known().read(name, asked, answer, stream=flag, status=code)
        except MappingFailure as failure:
            raise AdminError(f"the answer cannot be read: {failure.message}") from None

    def _known(self) -> Formats:
        if self.formats is None:
            raise AdminError("no gateway runs here: start one with `nexeon serve`")
        return self.formats


def _turn(prompt: str) -> dict[str, Any]:
    return {"role": "user", "blocks": [{"type": "text", "text": prompt}]}
