"""What no schema can say: names that must exist elsewhere, things said twice, templates, folders.

Runs on trees that the schema rejects too, so that all problems are told at once: every step asks before it looks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from nexeon.config.explain import suggest
from nexeon.config.source import Tree, show
from nexeon.wire.yamlfile import YamlPath

KEY_SLOT: Final = re.compile(r"\{\{\s*key\s*\}\}")
PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_SHARED: Final = ("postgresql://", "postgres://")
_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]*\Z")


def check_references(tree: Tree, *, formats: Collection[str] | None, dialects: Collection[str] | None) -> None:
    """Report them all. `formats` and `dialects` are the known names; None leaves them unchecked."""
    _workers(tree)
    _patterns(tree)
    _routes(tree, formats)
    for name, provider in _maps(tree.value, "providers"):
        _provider(tree, ("providers", name), provider, formats, dialects)
    _models(tree)


def _workers(tree: Tree) -> None:
    """Other stores belong to one process."""
    server, store = (tree.value.get(name) or {} for name in ("server", "store"))
    workers = server.get("workers", 1) if isinstance(server, dict) else 1
    url = store.get("url", "") if isinstance(store, dict) else ""
    if isinstance(workers, int) and workers > 1 and not str(url).startswith(_SHARED):
        engine = str(url).partition(":")[0] or "tinydb"
        tree.report(
            ("server", "workers"),
            f"server.workers: a {engine}: store belongs to one process; for {workers} set store.url to postgresql://…",
        )


def _patterns(tree: Tree) -> None:
    lines = tree.value.get("lines")
    patterns = lines.get("redact") if isinstance(lines, dict) else None
    for place, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
        try:
            re.compile(str(pattern))
        except re.error as error:
            tree.report(("lines", "redact", place), f"lines.redact[{place}] is no regular expression: {error}")


def _routes(tree: Tree, formats: Collection[str] | None) -> None:
    taken: dict[tuple[str, str], YamlPath] = {}
    for path, route in _items(tree.value, "routes"):
        _known(tree, (*path, "format"), route.get("format"), "format", formats, path)
        template = route.get("path")
        if not isinstance(template, str):
            continue
        for name in PLACEHOLDER.findall(template):
            if not _IDENTIFIER.match(name):
                tree.report((*path, "path"), f"`{{{name}}}` in {show(path)}.path must hold a name, such as `{{model}}`")
        if re.search(r"[{}]", PLACEHOLDER.sub("", template)):
            tree.report((*path, "path"), f"unpaired brace in {show(path)}.path")
        methods = route.get("methods", ["POST"])
        for method in methods if isinstance(methods, list) else ():
            same = (PLACEHOLDER.sub("{}", template), str(method))
            if same in taken:
                message = f"{method} {template} in {show(path)} is already taken by {show(taken[same])}"
                tree.report((*path, "path"), message, within=path)
                break
            taken[same] = path


def _provider(
    tree: Tree,
    path: YamlPath,
    provider: dict[str, Any],
    formats: Collection[str] | None,
    dialects: Collection[str] | None,
) -> None:
    spoken = provider.get("formats")
    for index, name in enumerate(spoken if isinstance(spoken, list) else ()):
        _known(tree, (*path, "formats", index), name, "format", formats, path)
    _known(tree, (*path, "dialect"), provider.get("dialect"), "dialect", dialects, path)
    auth = provider.get("auth")
    value = auth.get("value") if isinstance(auth, dict) else None
    if isinstance(value, str) and (len(KEY_SLOT.findall(value)) != 1 or re.search(r"[{}]", KEY_SLOT.sub("", value))):
        tree.report(
            (*path, "auth", "value"),
            f"{show(path)}.auth.value must hold `{{{{ key }}}}` once and no other expression, "
            'as in "Bearer {{ key }}"',
        )
    url = provider.get("base_url")
    if isinstance(url, str) and url.startswith("http"):
        try:
            usable = urlsplit(url).port != 0
        except ValueError:
            usable = False
        if not usable:
            tree.report((*path, "base_url"), f"{show(path)}.base_url has an impossible host or port")


def _models(tree: Tree) -> None:
    providers = tree.value.get("providers", {})
    if not isinstance(providers, dict):
        return
    models = tree.value.get("models")
    names: dict[str, YamlPath] = {name: ("models", name) for name in models} if isinstance(models, dict) else {}
    for name, model in _maps(tree.value, "models"):
        path: YamlPath = ("models", name)
        aliases = model.get("aliases")
        for index, alias in enumerate(aliases if isinstance(aliases, list) else ()):
            if isinstance(alias, str) and alias in names:
                message = f"alias `{alias}` in {show(path)} is already taken by {show(names[alias])}"
                tree.report((*path, "aliases", index), message, within=path)
            elif isinstance(alias, str):
                names[alias] = path
        for target_path, target in _items(model, "targets", path):
            _target(tree, target_path, target, providers)
        _fallbacks(tree, path, model, models)
        if isinstance(model.get("price"), dict):
            _tiers(tree, (*path, "price"), model["price"])


def _target(tree: Tree, path: YamlPath, target: dict[str, Any], providers: dict[str, Any]) -> None:
    name = target.get("provider")
    if not isinstance(name, str):
        return
    if name not in providers:
        message = f"unknown provider `{name}` in {show(path)}{suggest(name, providers)}"
        tree.report((*path, "provider"), message, within=path)
        return
    wanted = target.get("format")
    spoken = providers[name].get("formats") if isinstance(providers[name], dict) else None
    if isinstance(wanted, str) and isinstance(spoken, list) and wanted not in spoken:
        known = [format for format in spoken if isinstance(format, str)]
        message = f"provider `{name}` does not speak `{wanted}` in {show(path)}{suggest(wanted, known)}"
        tree.report((*path, "format"), message, within=path)


def _fallbacks(tree: Tree, path: YamlPath, model: dict[str, Any], models: Any) -> None:
    given = model.get("fallbacks")
    for index, name in enumerate(given if isinstance(given, list) else ()):
        if isinstance(name, str) and (name not in models or name == path[-1]):
            what = f"unknown model `{name}`" if name not in models else f"`{name}` itself"
            hint = suggest(name, models) if name not in models else ": name another model"
            tree.report((*path, "fallbacks", index), f"{what} in {show(path)}.fallbacks{hint}", within=path)


def _tiers(tree: Tree, path: YamlPath, price: dict[str, Any]) -> None:
    seen = set()
    for tier_path, tier in _items(price, "tiers", path):
        above = tier.get("above")
        if not isinstance(above, int):
            continue
        if above in seen:
            tree.report(tier_path, f"two tiers above {above} tokens in {show(path)}", within=path)
        seen.add(above)


def check_folders(tree: Tree, folders: Collection[tuple[YamlPath, Path]]) -> None:
    """Report mapping folders that are not there."""
    for path, folder in folders:
        if not folder.is_dir():
            tree.report(path, f"no folder `{folder}` for {show(path)}")


def _known(tree: Tree, path: YamlPath, name: object, what: str, known: Collection[str] | None, owner: YamlPath) -> None:
    if known is not None and isinstance(name, str) and name not in known:
        tree.report(path, f"unknown {what} `{name}` in {show(owner)}{suggest(name, known)}", within=owner)


def _maps(value: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    part = value.get(key)
    for name, item in part.items() if isinstance(part, dict) else ():
        if isinstance(item, dict):
            yield name, item


def _items(value: dict[str, Any], key: str, above: YamlPath = ()) -> Iterator[tuple[YamlPath, dict[str, Any]]]:
    part = value.get(key)
    for index, item in enumerate(part if isinstance(part, list) else ()):
        if isinstance(item, dict):
            yield (*above, key, index), item
