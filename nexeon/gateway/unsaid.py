"""The key that a provider was called with, kept out of what the provider says."""

from __future__ import annotations

from typing import Final

from nexeon.store.redact import HIDDEN
from nexeon.wire.sse import Event

_SHORTEST: Final = 12
"""A key that is shorter is a placeholder, and perhaps a word."""


class Unsaid:
    """Of one call. `heard` says, piece by piece of an answer, whether the key has come in it so far: only then is there
    anything for `hidden` to take out."""

    __slots__ = ("_keys", "_reach", "_seen", "_tail")

    def __init__(self, key: str) -> None:
        text = key.encode()
        # some writers of JSON escape slashes
        self._keys = [*dict.fromkeys((text, text.replace(b"/", rb"\/")))] if len(key) >= _SHORTEST else []
        self._reach = max(map(len, self._keys), default=1) - 1
        self._tail = b""
        self._seen = False

    def heard(self, data: bytes) -> bool:
        """Whether it stands in the pieces so far, this one included; it may begin in one and end in the next."""
        if self._seen or not self._keys:
            return self._seen
        joint = self._tail + data[: self._reach]
        for key in self._keys:
            if key in data or key in joint:
                self._seen = True
        self._tail = data[-self._reach :] if len(data) >= self._reach else joint[-self._reach :]
        return self._seen

    def heard_in_lines(self, data: bytes) -> bool:
        """The same of a piece before which a line ended: a key is within one line."""
        for key in self._keys:
            if key in data:
                self._seen = True
        return self._seen

    def hidden(self, data: bytes) -> bytes:
        for key in self._keys:
            if key in data:
                data = data.replace(key, HIDDEN.encode())
        return data

    def hidden_in(self, events: list[Event]) -> list[Event]:
        return [
            Event(self.hidden(event.event.encode()).decode() if event.event else event.event, self.hidden(event.data))
            for event in events
        ]
