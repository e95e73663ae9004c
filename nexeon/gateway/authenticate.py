"""Who asks: the client's key, wherever its SDK puts it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from nexeon.errors import RequestError
from nexeon.store import Account, ApiKey, Store

KEY_HEADERS: Final = ("x-api-key", "x-goog-api-key")
"""Headers that carry a bare key, beside `Authorization: Bearer`."""

_BEARER: Final = "bearer "


def authenticate(
    store: Store, headers: Mapping[str, str], query: Mapping[str, str], query_name: str | None
) -> tuple[ApiKey, Account]:
    """The key and its account. `query_name` is the URL parameter that may hold the key on this route, if any.

    Raises RequestError 401: no key, or an unknown, disabled or expired one; 403 for a disabled account.
    """
    given = False
    for secret in _candidates(headers, query, query_name):
        given = True
        found = store.find_key(secret)
        if found is None:
            continue
        key, account = found
        if key.disabled:
            raise _refusal("this API key is disabled", "key_disabled")
        if key.expired(time.time()):
            raise _refusal("this API key has expired", "key_expired")
        if account.disabled:
            raise RequestError(403, "permission", "this account is disabled", code="account_disabled", retryable=False)
        return key, account
    if given:
        raise _refusal("this API key is not known here", "invalid_api_key")
    raise _refusal("no API key was given: send it as `Authorization: Bearer nex-sk-…`", "missing_api_key")


def _candidates(headers: Mapping[str, str], query: Mapping[str, str], query_name: str | None) -> Iterator[str]:
    """Some clients send a placeholder in one place and the key in another."""
    authorization = headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER and (secret := authorization[len(_BEARER) :].strip()):
        yield secret
    for name in KEY_HEADERS:
        if secret := headers.get(name, "").strip():
            yield secret
    if query_name is not None and (secret := query.get(query_name, "").strip()):
        yield secret


def _refusal(message: str, code: str) -> RequestError:
    return RequestError(401, "authentication", message, code=code, retryable=False)
