"""Two JSON values compared."""

from __future__ import annotations

import json
from typing import Any


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """What was done to a JSON value: `+ path: value`, `- path`, `~ path: value → value`."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for name in [*before, *(name for name in after if name not in before)]:
            place = f"{path}.{name}" if path else name
            if name not in after:
                found.append(f"- {place}")
            elif name not in before:
                found.append(f"+ {place}: {_short(after[name])}")
            else:
                found += differences(before[name], after[name], place)
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [found for index, (old, new) in pairs for found in differences(old, new, f"{path}[{index}]")]
    same = type(before) is type(after) and before == after
    return [] if same else [f"~ {path}: {_short(before)} → {_short(after)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"
