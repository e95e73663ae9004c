"""A ledger as a CSV file: page after page, whole or not at all."""

from __future__ import annotations

import asyncio
import csv
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from tui.link import Link

PAGE: Final = 1000
COLUMNS: Final = (
    "created", "id", "kind", "amount", "balance", "uncollected", "key", "request", "model", "provider", "usage",
    "estimated", "reason", "expires",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


async def export_ledger(link: Link, account: str, path: Path, progress: Callable[[int], None]) -> int:
    """Writes an account's whole ledger, newest entry first, and gives the number of its entries; `progress` hears how
    many there are so far. A file of that name is replaced at the end; one that is cancelled or fails leaves nothing.

    Raises AdminError, StoreError, and OSError for what cannot be written.
    """
    with NamedTemporaryFile(
        "w", newline="", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            rows = csv.writer(file)
            rows.writerow(COLUMNS)
            params: dict[str, Any] = {"account": account, "limit": PAGE}
            written = 0
            while True:
                page = await link.call("credits.ledger", **params)
                await asyncio.to_thread(rows.writerows, map(_row, page["items"]))
                written += len(page["items"])
                progress(written)
                if page["next"] is None:
                    break
                params["after"] = page["next"]
            await asyncio.to_thread(_finish, file, path)
        except BaseException:
            os.unlink(file.name)
            raise
    return written


def _finish(file: Any, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    os.replace(file.name, path)


def _row(entry: dict[str, Any]) -> Iterable[str]:
    for column in COLUMNS:
        value = entry[column]
        yield (
            "" if value is None else json.dumps(value) if isinstance(value, bool | dict) else _safe(column, str(value))
        )


def _safe(column: str, text: str) -> str:
    """What people wrote is text for a spreadsheet too, even where it looks like a formula."""
    return f"'{text}" if column in ("reason", "model", "provider", "request") and text.startswith(_FORMULA) else text
