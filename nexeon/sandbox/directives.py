"""Prompt directives: what a user text may ask of the offline upstream itself.

The last user text may *begin* with any number of `[[name arguments]]`. They are read, obeyed and left out of what the
answer echoes; the rest is the prompt. Times are `200ms`, `2s` or `1.5s`; counts are whole numbers.

    [[delay 200ms]]          a pause before every event but the first (JSON: once, before the answer)
    [[first-byte 2s]]        a pause before the response's status line
    [[first-event 2s]]       status line and headers at once, then a pause before the first event (JSON: the body)
    [[error 429]]            that status, in the format's own error body; options, in any order:
                               retry-after=1   that header      message=overloaded  its message (no spaces)
                               at=NAME         only where the path begins with /NAME/: makes one provider fail
                               key=END         only where the key sent ends with END: makes one key fail
                               times=2         only the first two times; then the same text is answered, and so on
    [[html 502]]             that status with an HTML page, as a proxy in between would answer
    [[error-after 3]]        three events, then the format's own error event (JSON: status 500)
    [[cut-after 3]]          three events, then the connection is closed without an end (JSON: half of the body)
    [[tokens 500]]           a text of 500 tokens
    [[think 50]]             50 tokens of reasoning, whether the request asks for reasoning or not
    [[cached 20]]            20 of the input tokens are reported as read from the cache
    [[cache-write 20]]       20 of the input tokens are reported as written to the cache (formats that count those)
    [[refuse]]               a refusal

A name that is not in this list is not a directive but text. A wrong argument is answered with status 400.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nexeon.errors import RequestError

_DIRECTIVE = re.compile(r"\s*\[\[\s*([a-z-]+)([^\[\]]*)\]\]")
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_MOST_SECONDS = 3600.0
_MOST_TOKENS = 1_000_000


@dataclass(slots=True)
class Directives:
    """What was asked. Times in seconds, None or 0 where nothing was asked; counts in events or tokens."""

    delay: float = 0.0
    first_byte: float = 0.0
    first_event: float = 0.0
    error: int | None = None
    error_message: str | None = None
    error_at: str | None = None
    error_key: str | None = None
    error_times: int | None = None
    retry_after: str | None = None
    html: int | None = None
    error_after: int | None = None
    cut_after: int | None = None
    tokens: int | None = None
    think: int | None = None
    cached: int = 0
    cache_write: int = 0
    refuse: bool = False


_SECONDS = {"delay": "delay", "first-byte": "first_byte", "first-event": "first_event"}
_COUNTS = {
    "error-after": "error_after",
    "cut-after": "cut_after",
    "tokens": "tokens",
    "think": "think",
    "cached": "cached",
    "cache-write": "cache_write",
}
_STATUSES = {"error": "error", "html": "html"}
_OPTIONS = {"retry-after": "retry_after", "message": "error_message", "at": "error_at", "key": "error_key"}
_NONE = Directives()


def parse(text: str) -> tuple[Directives, str]:
    """The directives that `text` begins with, and the rest. Raises `RequestError` (400) for a wrong argument."""
    if "[[" not in text:
        return _NONE, text
    found = Directives()
    end = 0
    while match := _DIRECTIVE.match(text, end):
        name, arguments = match[1], match[2].split()
        if name in _SECONDS:
            setattr(found, _SECONDS[name], _seconds(name, arguments))
        elif name in _COUNTS:
            setattr(found, _COUNTS[name], _count(name, arguments))
        elif name in _STATUSES:
            setattr(found, _STATUSES[name], _status(name, arguments[:1]))
            for option in arguments[1:]:
                _option(found, name, option)
        elif name == "refuse" and not arguments:
            found.refuse = True
        else:
            break
        end = match.end()
    return found, text[end:].lstrip() if end else text


def _option(found: Directives, name: str, option: str) -> None:
    key, _, value = option.partition("=")
    if name == "error" and key == "times":
        found.error_times = _count("error 503 times=", [value])
    elif name == "error" and key in _OPTIONS and value:
        setattr(found, _OPTIONS[key], value)
    else:
        known = ", ".join(f"{key}=…" for key in [*_OPTIONS, "times"])
        raise _wrong(name, f"unknown option `{option}`; `[[error 503]]` takes {known}, other directives none")


def _seconds(name: str, arguments: list[str]) -> float:
    match = _TIME.fullmatch(arguments[0]) if len(arguments) == 1 else None
    seconds = float(match[1]) * (0.001 if match[2] == "ms" else 1) if match else -1
    if not 0 <= seconds <= _MOST_SECONDS:
        raise _wrong(name, f"write one time up to an hour, such as `[[{name} 200ms]]` or `[[{name} 2s]]`")
    return seconds


def _count(name: str, arguments: list[str]) -> int:
    if len(arguments) != 1 or not re.fullmatch(r"[0-9]{1,7}", arguments[0]) or int(arguments[0]) > _MOST_TOKENS:
        example = f"{name}3" if name.endswith("=") else f"{name} 3"
        raise _wrong(name, f"write one whole number up to {_MOST_TOKENS}, such as `[[{example}]]`")
    return int(arguments[0])


def _status(name: str, arguments: list[str]) -> int:
    if not arguments or not re.fullmatch(r"[45][0-9][0-9]", arguments[0]):
        raise _wrong(name, f"write a status from 400 to 599, such as `[[{name} 503]]`")
    return int(arguments[0])


def _wrong(name: str, mend: str) -> RequestError:
    return RequestError(400, "invalid_request", f"Directive [[{name}]]: {mend}", param="directive")
