"""What an upstream's refusal means for the call: whose fault it is, and where to try next."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import IntEnum
from time import time
from typing import Any, Final

from nexeon.errors import NexeonError, RequestError
from nexeon.gateway.upstream import UpstreamFailure

_OURS: Final = frozenset({401, 402, 403})
_KEY_KINDS: Final = frozenset({"authentication", "billing", "permission"})
_NOT_HERE: Final = frozenset({403, 404})
"""With kind `unprocessable`: the key and the model are good, but not for what this request asks of them."""
_CLIENT_KINDS: Final = frozenset({"content_policy", "context_length"})
_LONGEST_MESSAGE: Final = 2000
_WORD: Final = re.compile("[a-z][a-z0-9_]*")


class Blame(IntEnum):
    """Whose fault it is. Of several failures of one call, the client is told of the highest."""

    KEY = 0
    """The provider refuses the key: the next key."""
    TARGET = 1
    """The target cannot serve this call as it is: the next target."""
    BROKEN = 2
    """The provider failed: the next target, and the same one again later."""
    LIMITED = 3
    """A rate limit: the next key, then the next target."""
    CLIENT = 4
    """The request itself: nobody else would take it."""


@dataclass(eq=False)
class AttemptFailed(NexeonError):
    """One attempt failed; `error` is what the client gets if no other one works.

    `status` and `kind` are the provider's own (0 and "" where it did not answer).
    """

    blame: Blame
    error: RequestError
    retry_after: float | None = None
    status: int = 0
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.blame.name.lower()}: {self.error}"

    def without_secrets(self, clean: Callable[[str], str]) -> AttemptFailed:
        """This, once `clean` has been over all that a provider chose to say: it may repeat what it was sent."""
        error = self.error
        error.kind, error.message, self.kind = clean(error.kind), clean(error.message), clean(self.kind)
        error.code = clean(error.code) if error.code is not None else None
        error.param = clean(error.param) if error.param is not None else None
        return self


def from_answer(provider: str, status: int, error: Mapping[str, Any], retry_after: float | None) -> AttemptFailed:
    """Judges an error answer by its HTTP status and its canonical error.

    The provider's words reach the client only where the client is at fault; what concerns our keys and our
    configuration is told in our own.
    """
    kind = str(error.get("kind") or "upstream")
    failed = _judged(provider, status, kind, error, retry_after)
    failed.status, failed.kind = status, kind
    return failed


def _judged(
    provider: str, status: int, kind: str, error: Mapping[str, Any], retry_after: float | None
) -> AttemptFailed:
    message = str(error.get("message") or "").strip()[:_LONGEST_MESSAGE]
    wait = retry_after if retry_after is not None else error.get("retry_after")
    if kind in _CLIENT_KINDS:
        return AttemptFailed(
            Blame.CLIENT, _client_error(400 if status in _OURS or status >= 429 else status, kind, message, error)
        )
    if kind == "unprocessable" and status in _NOT_HERE:
        return AttemptFailed(Blame.TARGET, _client_error(422, kind, message, error))
    if status in _OURS or kind in _KEY_KINDS:
        return AttemptFailed(Blame.KEY, no_active_key(provider, "the provider refused every key"), wait)
    if status == 429 or kind == "rate_limit":
        return AttemptFailed(Blame.LIMITED, rate_limited(provider, message, wait), wait)
    if status == 404 or kind == "model_not_found":
        return AttemptFailed(Blame.TARGET, bad_gateway(f"provider `{provider}` does not serve this model"))
    if status == 408 or status == 504 or kind in ("timeout", "upstream_timeout"):
        return AttemptFailed(Blame.BROKEN, _timed_out(f"provider `{provider}` timed out"), wait)
    if 400 <= status < 500:
        return AttemptFailed(Blame.CLIENT, _client_error(status, kind, message, error))
    if status < 400 or status >= 600:
        return AttemptFailed(Blame.TARGET, bad_gateway(f"provider `{provider}` answered with status {status}"))
    said = f": {message}" if message else ""
    told = bad_gateway(f"provider `{provider}` failed{said}" if said else f"provider `{provider}` answered {status}")
    if kind == "overloaded":
        told.kind, told.code = kind, None
    return AttemptFailed(Blame.BROKEN, told, wait)


def from_failure(failure: UpstreamFailure) -> AttemptFailed:
    """No answer: the connection could not be made, broke, or took too long. What took long is not asked for again."""
    if failure.timeout:
        return AttemptFailed(Blame.BROKEN if not failure.sent else Blame.TARGET, _timed_out(failure.message))
    return AttemptFailed(Blame.BROKEN, bad_gateway(failure.message))


def refused_by_target(error: RequestError) -> AttemptFailed:
    """The request cannot be said to this target, but perhaps to another."""
    return AttemptFailed(Blame.CLIENT, error)


def bad_gateway(message: str) -> RequestError:
    return RequestError(502, "upstream", message, code="upstream_error")


def no_active_key(provider: str, reason: str = "", variable: str | None = None) -> RequestError:
    """Says what the operator can do about it; the client's own key is not at fault."""
    mend = f"`nexeon provider-keys add {provider}`" + (f", or set {variable}" if variable else "")
    why = f" ({reason})" if reason else ""
    return RequestError(
        503, "unavailable", f"no active key for provider `{provider}`{why}: {mend}", code="no_active_provider_key"
    )


def stream_error(provider: str, error: Mapping[str, Any]) -> AttemptFailed:
    """The same for an error that came as an event of a stream with status 200."""
    status = error.get("status")
    if type(status) is not int or not 400 <= status < 600:
        status = _STATUS.get(str(error.get("kind")), 502)
    return from_answer(provider, status, error, None)


_STATUS: Final[dict[str, int]] = {
    "invalid_request": 400,
    "context_length": 400,
    "content_policy": 400,
    "authentication": 401,
    "billing": 402,
    "permission": 403,
    "model_not_found": 404,
    "not_found": 404,
    "timeout": 504,
    "conflict": 409,
    "too_large": 413,
    "unsupported_media": 415,
    "unprocessable": 422,
    "rate_limit": 429,
    "internal": 500,
    "upstream": 502,
    "unavailable": 503,
    "overloaded": 529,
    "upstream_timeout": 504,
}


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms` or `retry-after` (seconds or a date); None where neither is there or makes sense."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(float(milliseconds) / 1000, 0.0)
        text = headers.get("retry-after")
        if text is None:
            return None
        try:
            seconds = float(text)
        except ValueError:
            seconds = parsedate_to_datetime(text).timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(seconds, 0.0) if seconds < 86_400 else None


def _client_error(status: int, kind: str, message: str, error: Mapping[str, Any]) -> RequestError:
    param, code = error.get("param"), error.get("code")
    if kind in _CLIENT_KINDS and not (isinstance(code, str) and _WORD.fullmatch(code)):
        code = None  # the client's format has its own word
    return RequestError(
        status,
        kind if kind not in ("upstream", "internal") else "invalid_request",
        message or "the provider refused the request",
        param=param if isinstance(param, str) else None,
        code=str(code) if code is not None else None,
        retryable=False,
    )


def rate_limited(provider: str, message: str, wait: float | None) -> RequestError:
    said = f": {message}" if message else ""
    return RequestError(
        429,
        "rate_limit",
        f"provider `{provider}` limits the rate of requests{said}",
        code="rate_limit_exceeded",
        retry_after=wait if wait is not None else 1.0,
    )


def _timed_out(message: str) -> RequestError:
    return RequestError(504, "upstream_timeout", message, code="upstream_timeout")
