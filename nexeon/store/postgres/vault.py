"""Provider secrets in a database that several gateways share: all of them must have the same key."""

from __future__ import annotations

import os
from typing import Any, Final

from nexeon.errors import StoreError
from nexeon.store.secrets import VARIABLE, Vault

_FACT: Final = "vault"
_WORDS: Final = "nexeon"


class SharedVault(Vault):
    """Takes its key from `NEXEON_SECRET_KEY` only: a file would be one machine's."""

    def __init__(self) -> None:
        super().__init__(None)

    def _load(self) -> bytes:
        if not os.environ.get(VARIABLE, "").strip():
            raise StoreError(
                f"set {VARIABLE} to the same secret on every gateway of this database: provider keys are encrypted "
                "with it"
            )
        return super()._load()

    async def check(self, connection: Any) -> None:
        """Raises StoreError where the provider keys in the database were encrypted with another key."""
        if not os.environ.get(VARIABLE, "").strip():
            return
        known = await connection.fetchval("SELECT value FROM facts WHERE name = $1", _FACT)
        if known is not None:
            try:
                self.decrypt(known)
                return
            except StoreError:
                if await connection.fetchval("SELECT EXISTS (SELECT FROM provider_keys)"):
                    raise StoreError(
                        f"{VARIABLE} is not the one that the provider keys in this database were encrypted with: "
                        "give every gateway the same"
                    ) from None
        await connection.execute(
            "INSERT INTO facts VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            _FACT,
            self.encrypt(_WORDS),
        )
