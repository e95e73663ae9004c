"""A configuration as JSON, for people to read and compare: money in USD, and a mark in the place of each secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from nexeon.config.model import NANO, Config, Price

_DERIVED: Final = frozenset({"aliases", "pattern", "files"})
"""Fields that only repeat what others say; a model's aliases are a tuple."""

_AS: Final = {
    "cached_input": "input", "cache_write": "input", "cache_write_1h": "cache_write", "reasoning": "output",
    "audio_input": "input", "audio_output": "output", "image": "output",
}  # fmt: skip
"""What a class of tokens costs where a price does not say."""

_MARK: Final = "secret "


def plain(config: Config, salt: str = "") -> dict[str, Any]:
    """Everything that a configuration says. Two secrets are the same where their marks are, if the salt is."""
    shown = _fields(config, salt)
    for model in shown["models"].values():
        for target in model["targets"]:
            if target["price"] == model["price"]:
                del target["price"]
    return shown


def _fields(value: Any, salt: str) -> dict[str, Any]:
    found = {}
    for field in fields(value):
        item = getattr(value, field.name)
        if field.name in _DERIVED and not isinstance(item, tuple):
            continue
        if isinstance(value, Config) and field.name == "files":
            continue
        found[field.name] = _plain(item, salt) if field.repr else _hidden(item, salt)
    if isinstance(value, Price):
        found = {
            name: _usd(item) if type(item) is int else item
            for name, item in found.items()
            if item and item != found.get(_AS.get(name, ""))
        }
    return found


def _plain(value: Any, salt: str) -> Any:
    if is_dataclass(value):
        return _fields(value, salt)
    if isinstance(value, Mapping):
        return {str(name): _plain(item, salt) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, salt) for item in value]
    return str(value) if isinstance(value, Path) else value


def _hidden(value: Any, salt: str) -> Any:
    """A mark that does not tell the value; what is empty is no secret."""
    if isinstance(value, Mapping):
        return {str(name): _hidden(item, salt) for name, item in value.items()}
    if not value:
        return value
    return _MARK + blake2b(f"{salt}\0{value}".encode(), digest_size=6).hexdigest()


def _usd(nano: int) -> float | int:
    return nano // NANO if nano % NANO == 0 else nano / NANO
