"""What the process says on stderr: lines for people or JSON objects, without secrets."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TextIO

import orjson

from nexeon.config import Config, Lines
from nexeon.gateway.exchange import Exchange
from nexeon.store.redact import HIDDEN, redacted, without_secrets

about: ContextVar[Exchange | None] = ContextVar("nexeon.request", default=None)
"""The request that a line is about."""

_QUIET: Final = ("httpx", "httpcore", "asyncio", "hypercorn", "watchfiles")
_SHORTEST: Final = 8
"""A secret that is shorter is a placeholder, and perhaps a word."""

_BODIES: Final = ("request", "response", "upstream_request", "upstream_response")

requests = logging.getLogger("nexeon.requests")


class Redaction:
    """Takes secrets out of lines: what looks like one, what the configuration calls one, and those that are known."""

    def __init__(self, patterns: Iterable[str] = (), known: Callable[[], Iterable[str]] = lambda: ()) -> None:
        """`known` gives the secrets that must not appear, whatever they look like; the same frozenset again where these
        have not changed."""
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._known = known
        self._seen: Iterable[str] | None = None
        self._secrets: frozenset[str] = frozenset()
        self._literal: re.Pattern[str] | None = None

    def refresh(self) -> None:
        """Looks for secrets that have come since; in the main thread, to which they belong."""
        known = self._known()
        if known is self._seen and isinstance(known, frozenset):
            return
        self._seen = known
        secrets = frozenset(secret for secret in known if len(secret) >= _SHORTEST)
        if secrets != self._secrets:
            self._secrets = secrets
            longest_first = sorted(secrets, key=len, reverse=True)
            self._literal = re.compile("|".join(map(re.escape, longest_first))) if secrets else None

    def clean(self, text: str) -> str:
        if threading.current_thread() is threading.main_thread():
            self.refresh()
        if self._literal is not None:
            text = self._literal.sub(HIDDEN, text)
        text = without_secrets(text)
        for pattern in self._patterns:
            text = pattern.sub(HIDDEN, text)
        return text


class Formatter(logging.Formatter):
    """One line for each record: text, or a JSON object with `time`, `level`, `logger`, `message`, where it is about a
    request `request`, `key`, `account` and `model` (ids), and what else is known."""

    def __init__(self, redaction: Redaction, *, as_json: bool) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._redaction = redaction
        self._json = as_json

    def format(self, record: logging.LogRecord) -> str:
        return self._redaction.clean(self._object(record) if self._json else super().format(record))

    def _object(self, record: logging.LogRecord) -> str:
        exchange = about.get()
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if exchange is not None:
            told |= {"request": exchange.id, "key": exchange.key.id, "account": exchange.account.id}
            if exchange.model is not None:
                told["model"] = exchange.model.id
        facts = getattr(record, "facts", None)
        if isinstance(facts, dict):
            told |= facts
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(told, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class RequestLines:
    """A line for each request that has ended, where that is switched on."""

    def __init__(self, settings: Lines) -> None:
        self.settings = settings

    @property
    def bodies(self) -> bool:
        return self.settings.requests and self.settings.bodies

    def tell(self, record: dict[str, Any], fields: Iterable[str], limit: int) -> None:
        """`record` is as the log of requests has it; values of `fields` are left out of bodies, which are cut at
        `limit` characters."""
        if not self.settings.requests:
            return
        cost = record["cost"]
        seconds = record["ended"] - record["started"]
        facts = {
            name: value
            for name, value in record.items()
            if name not in (*_BODIES, "id", "started", "ended") and value not in (None, "", [], {})
        }
        facts["seconds"] = round(seconds, 4)
        facts["cost_nano_usd"] = facts.pop("cost", 0)
        if self.bodies:
            names = tuple(fields)
            facts |= {name: redacted(record[name], limit, names) for name in _BODIES if record.get(name)}
        requests.info(
            "%s %s %s → %s %d in %.3f s, %s nano-USD%s",
            record["id"], record["format"], record["model"], record["provider"] or "-", record["status"], seconds,
            cost or 0, f": {record['error']}" if record["error"] else "", extra={"facts": facts},
        )  # fmt: skip


def set_up(settings: Lines, redaction: Redaction, stream: TextIO | None = None) -> None:
    """Everything that is logged in this process goes to `stream` (None: stderr) from here on, as the settings say; the
    end of the process or of a thread by an exception, too."""
    redaction.refresh()  # other threads have no secrets of their own to look for
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Formatter(redaction, as_json=settings.format == "json"))
    root = logging.getLogger()
    for before in [one for one in root.handlers if getattr(one, "nexeon", False)]:
        root.removeHandler(before)
    handler.nexeon = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    sys.excepthook = _crashed
    threading.excepthook = _thread_crashed


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger("nexeon").critical("the process fails", exc_info=(kind, error, trace))


def _thread_crashed(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and not issubclass(told.exc_type, SystemExit):
        words = f"the thread {told.thread.name if told.thread is not None else '?'} fails"
        logging.getLogger("nexeon").critical(words, exc_info=(told.exc_type, told.exc_value, told.exc_traceback))


def configured_secrets(config: Config) -> Iterator[str]:
    """Every secret that the configuration holds."""
    if config.admin.token is not None:
        yield config.admin.token
    for provider in config.providers.values():
        yield from (own.key for _, own in provider.own_keys())
        yield from provider.headers.values()
        if provider.proxy is not None:
            yield from _passwords(provider.proxy)
    for url in (config.store.url, config.limits.url):
        if url is not None:
            yield from _passwords(url)
    yield from config.tracing.headers.values()


def _passwords(url: str) -> Iterator[str]:
    found = re.search(r"://[^/@]*:([^/@]+)@", url)
    if found is not None:
        yield found[1]
