"""The context that every mapping sees as `ctx`."""

from __future__ import annotations

import secrets
import time
from typing import Any


def new_context(**facts: Any) -> dict[str, Any]:
    """A context with the facts given (`schemas/canonical.schema.json`, `context`, names them all).

    `token` and `now` are made where they are not given. `dropped` collects what was lost, `doubts` what is no count.
    """
    ctx: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
    if "token" not in ctx:
        ctx["token"] = secrets.token_hex(12)
    if "now" not in ctx:
        ctx["now"] = int(time.time())
    ctx.setdefault("format", "")
    ctx["dropped"] = []
    ctx["lost"] = []
    ctx["doubts"] = []
    ctx["ids"] = 0
    return ctx
