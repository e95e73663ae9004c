"""`refusals.yaml`: why a recorded request may be refused."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import yaml


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    entries = yaml.safe_load(Path(__file__).with_name("refusals.yaml").read_text())
    return tuple(re.compile(entry["message"]) for entry in entries)


def is_known_refusal(message: str) -> bool:
    return any(pattern.search(message) for pattern in _patterns())
