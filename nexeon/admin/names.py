"""Records that people name: each by its id, or by what it is called."""

from __future__ import annotations

from nexeon.errors import AdminError, NotFound
from nexeon.store.protocol import Store


async def account_id(store: Store, account: str) -> str:
    """What is not known may have been deleted: it is an id then."""
    try:
        return (await store.account(account)).id
    except NotFound:
        return account


async def key_id(store: Store, key: str) -> str:
    """The same for a key. Raises AdminError where several are called so."""
    try:
        return (await store.api_key(key)).id
    except NotFound:
        named = [each.id for each in await store.api_keys() if each.name == key]
    if len(named) > 1:
        raise AdminError(f"{len(named)} keys are named `{key}`: use an id")
    return named[0] if named else key
