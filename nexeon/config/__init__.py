"""The deployment's configuration: files in, one frozen `Config` out, or a ConfigError with every problem at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from nexeon.config.build import build, mapping_folders
from nexeon.config.explain import check_schema
from nexeon.config.model import (
    Admin,
    Auth,
    Config,
    Estimate,
    Materialise,
    Model,
    Price,
    Provider,
    Route,
    Server,
    StoreConfig,
    Target,
    Timeouts,
)
from nexeon.config.references import check_folders, check_references
from nexeon.config.source import Tree, read_files
from nexeon.data import DATA_ROOT, data_path
from nexeon.errors import ConfigError

__all__ = [
    "Admin",
    "Auth",
    "Config",
    "Estimate",
    "Materialise",
    "Model",
    "Price",
    "Provider",
    "Route",
    "Server",
    "StoreConfig",
    "Target",
    "Timeouts",
    "default_files",
    "load_config",
]

_FILE: Final = "gateway.yaml"


def default_files() -> tuple[Path, ...]:
    """What is read when no file is named: `./gateway.yaml` where there is one, else the shipped file."""
    here = Path(_FILE)
    return (here if here.is_file() else data_path(_FILE),)


def load_config(
    paths: Sequence[Path] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    formats: Collection[str] | None = None,
    dialects: Collection[str] | None = None,
) -> Config:
    """Read, merge, check and resolve the files (without any: `default_files()`).

    `formats` and `dialects` are the names that may be used; None leaves them unchecked.
    Raises ConfigError with all problems of all files; no message holds a secret.
    """
    files = tuple(paths) if paths else default_files()
    tree, readable = read_files(files, environ)
    if readable:
        _fill_routes(tree, environ)
        folders = mapping_folders(tree)
        check_schema(tree)
        check_folders(tree, [item for item in folders if item[1] != data_path("mappings")])
        check_references(
            tree,
            formats=formats,
            dialects=dialects,
        )
    if tree.problems:
        raise ConfigError(sorted(tree.problems, key=lambda problem: _order(files, problem.file, problem.line)))
    shipped = data_path(_FILE)
    if not paths and files == (shipped,):
        return build(tree, files, home=_data_home(environ), shipped=shipped)
    packaged = shipped if DATA_ROOT.name == "_data" else None  # a store has no place among installed files
    home = _data_home(environ) if files[0].absolute() == packaged else files[0].absolute().parent / "data"
    return build(tree, tuple(file.absolute() for file in files), home=home, shipped=packaged)


def _fill_routes(tree: Tree, environ: Mapping[str, str]) -> None:
    """A configuration that names no routes serves the shipped ones."""
    if "routes" not in tree.value:
        shipped, _ = read_files((data_path(_FILE),), environ)
        tree.value["routes"] = shipped.value.get("routes", [])
        tree.places.update({path: place for path, place in shipped.places.items() if path[:1] == ("routes",)})


def _order(files: Sequence[Path], file: str, line: int) -> tuple[int, int]:
    names = [str(name) for name in files]
    return (names.index(file) if file in names else len(names), line)


def _data_home(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_DATA_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".local" / "share"
    return root / "nexeon"
