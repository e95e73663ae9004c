"""Who asks, and may it: the client's key, wherever its SDK puts it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from nexeon.errors import RequestError, StoreUnavailable
from nexeon.store import Account, ApiKey
from nexeon.store.permission import permitted

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway
    from nexeon.gateway.way import Incoming

_BEARER: Final = "bearer "


def authenticate(
    gateway: Gateway, incoming: Incoming, query_name: str | None, *, write: bool
) -> tuple[ApiKey, Account]:
    """The key and its account. It stands in `Authorization: Bearer`, in a header that any format's clients use, or in
    the URL parameter `query_name` that this route's clients use; `write` is for what generates something.

    Raises RequestError: 401 for no key, or an unknown, disabled or expired one; 403 for a disabled account, or where
    the key may not be used for this.
    """
    key, account = _known(gateway, incoming, query_name)
    refusal = permitted(key, endpoint=incoming.path, ip=incoming.ip, write=write)
    if refusal is not None:
        raise not_permitted(refusal)
    return key, account


def not_permitted(refusal: str, *, param: str | None = None, code: str = "not_permitted") -> RequestError:
    return RequestError(403, "permission", refusal, param=param, code=code, retryable=False)


def _known(gateway: Gateway, incoming: Incoming, query_name: str | None) -> tuple[ApiKey, Account]:
    given = False
    for secret in _candidates(incoming, gateway.key_headers, query_name):
        given = True
        try:
            found = gateway.store.find_key(secret)
        except StoreUnavailable as error:
            raise RequestError(
                503, "unavailable", "API keys cannot be looked up at the moment", code="store_unavailable"
            ) from error
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


def _candidates(incoming: Incoming, headers: Collection[str], query_name: str | None) -> Iterator[str]:
    """Some clients send a placeholder in one place and the key in another."""
    authorization = incoming.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER and (secret := authorization[len(_BEARER) :].strip()):
        yield secret
    for name in headers:
        if secret := incoming.headers.get(name, "").strip():
            yield secret
    if query_name is not None and (secret := incoming.query.get(query_name, "").strip()):
        yield secret


def _refusal(message: str, code: str) -> RequestError:
    return RequestError(401, "authentication", message, code=code, retryable=False)
