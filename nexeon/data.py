"""Where the data files are: under `nexeon/_data` in an installed package, at the repository's top in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent
_PACKAGED: Final = _PACKAGE / "_data"

DATA_ROOT: Final = _PACKAGED if _PACKAGED.is_dir() else _PACKAGE.parent


def data_path(name: str) -> Path:
    """The path of a shipped file or folder: `gateway.yaml`, `schemas`, `mappings/formats`, …"""
    return DATA_ROOT / name
