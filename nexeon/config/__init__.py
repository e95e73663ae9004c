"""The deployment's configuration: files in, one frozen `Config` out, or a ConfigError with every problem at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nexeon.config.build import build, mapping_folders
from nexeon.config.explain import check_schema
from nexeon.config.model import (
    Admin,
    Auth,
    Breaker,
    Config,
    DefaultLimits,
    Estimate,
    Idempotency,
    Limits,
    Lines,
    Materialise,
    Model,
    Overload,
    PoolKey,
    Price,
    Provider,
    Responses,
    Retry,
    Route,
    Server,
    StoreConfig,
    Strategy,
    Target,
    Timeouts,
    Tracing,
)
from nexeon.config.names import known_names
from nexeon.config.references import check_folders, check_references
from nexeon.config.source import Tree, read_files
from nexeon.data import DATA_ROOT, data_path
from nexeon.errors import ConfigError
from nexeon.wire.yamlfile import load_yaml

__all__ = [
    "Admin",
    "Auth",
    "Breaker",
    "Config",
    "DefaultLimits",
    "Estimate",
    "Idempotency",
    "Limits",
    "Lines",
    "Materialise",
    "Model",
    "Overload",
    "PoolKey",
    "Price",
    "Provider",
    "Responses",
    "Retry",
    "Route",
    "Server",
    "StoreConfig",
    "Strategy",
    "Target",
    "Timeouts",
    "Tracing",
    "default_files",
    "load_config",
    "load_place",
]

_FILE: Final = "gateway.yaml"
_PLACE: Final = ("store", "admin")


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

    `formats` and `dialects` are the names that may be used; without them, those that the mapping folders hold.
    Raises ConfigError with all problems of all files; no message holds a secret.
    """
    files = tuple(Path(path) for path in paths) if paths else default_files()
    tree, readable = read_files(files, environ)
    if readable:
        folders = mapping_folders(tree)
        check_schema(tree)
        check_folders(tree, [item for item in folders if item[1] != data_path("mappings")])
        if formats is None:
            formats = known_names([folder for _, folder in folders], "format")
        if dialects is None:
            dialects = known_names([folder for _, folder in folders], "dialect")
        check_references(tree, formats=formats, dialects=dialects)
        if "routes" not in tree.value:
            tree.value["routes"] = _shipped_routes(formats)
    if tree.problems:
        raise ConfigError(sorted(tree.problems, key=lambda problem: _order(files, problem.file, problem.line)))
    return _built(tree, files, environ, implicit=not paths)


def load_place(paths: Sequence[Path] | None = None, *, environ: Mapping[str, str] = os.environ) -> Config | None:
    """Of files that cannot be used as a whole what says where the store is, and the socket of a gateway that runs on
    it: `store` and `admin` of a configuration that is empty but for them. None where that cannot be told either."""
    files = tuple(Path(path) for path in paths) if paths else default_files()
    tree, readable = read_files(files, environ)
    if not readable or any(path[0] in _PLACE for path in tree.unresolved):
        return None
    tree.value = {name: part for name, part in tree.value.items() if name in _PLACE}
    tree.problems.clear()
    check_schema(tree)
    return None if tree.problems else _built(tree, files, environ, implicit=not paths)


def _built(tree: Tree, files: tuple[Path, ...], environ: Mapping[str, str], *, implicit: bool) -> Config:
    absolute = tuple(file.absolute() for file in files)
    ours = _without_store(implicit=implicit)
    home = _data_home(environ) if absolute[0] == ours else absolute[0].parent / "data"
    return build(tree, absolute, home=home, shipped=ours)


def _without_store(*, implicit: bool) -> Path | None:
    """The shipped file, where its folder is no place for a store: nobody chose that folder, or it is installed."""
    chosen = not implicit or default_files() != (data_path(_FILE),)
    return None if chosen and DATA_ROOT.name != "_data" else data_path(_FILE)


def _shipped_routes(formats: Collection[str] | None) -> list[Any]:
    """What a configuration that names no routes serves: the shipped ones, as far as their formats are known."""
    shipped, _ = load_yaml(data_path(_FILE))
    routes: list[Any] = shipped["routes"]
    return [route for route in routes if formats is None or route["format"] in formats]


def _order(files: Sequence[Path], file: str, line: int) -> tuple[int, int]:
    names = [str(name) for name in files]
    return (names.index(file) if file in names else len(names), line)


def _data_home(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_DATA_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".local" / "share"
    return root / "nexeon"
