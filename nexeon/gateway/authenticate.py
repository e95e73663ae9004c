"""Who asks, and may it: the client's key, wherever its SDK puts it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from nexeon.errors import RequestError
from nexeon.store import Account, ApiKey, Store
from nexeon.store.permission import permitted

if TYPE_CHECKING:
    from nexeon.gateway.way import Incoming

KEY_HEADERS: Final = ("x-api-key", "x-goog-api-key")
"""Headers that carry a bare key, beside `Authorization: Bearer`."""

_BEARER: Final = "bearer "


def authenticate(store: Store, incoming: Incoming, query_name: str | None, *, write: bool) -> tuple[ApiKey, Account]:
    """The key and its account. `query_name` is the URL parameter that may hold the key on this route, if any; `write`
    is for what generates something.

    Raises RequestError: 401 for no key, or an unknown, disabled or expired one; 403 for a disabled account, or where
    the key may not be used for this.
    """
    key, account = _known(store, incoming, query_name)
    refusal = permitted(key, endpoint=incoming.path, ip=incoming.ip, write=write)
    if refusal is not None:
        raise not_permitted(refusal)
    return key, account


def not_permitted(refusal: str, *, param: str | None = None, code: str = "not_permitted") -> RequestError:
    return RequestError(403, "permission", refusal, param=param, code=code, retryable=False)


def _known(store: Store, incoming: Incoming, query_name: str | None) -> tuple[ApiKey, Account]:
    given = False
    for secret in _candidates(incoming.headers, incoming.query, query_name):
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
            raise not_permitted("this account is disabled", code="account_disabled")
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
