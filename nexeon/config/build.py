"""A checked tree → the frozen configuration: paths made absolute, sizes in bytes, money in nano-USD."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from nexeon.config import model as out
from nexeon.config.references import KEY_SLOT, PLACEHOLDER
from nexeon.config.source import Tree
from nexeon.data import data_path
from nexeon.wire.yamlfile import YamlPath

_T = TypeVar("_T")
_UNITS: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BUILTIN: Final = "builtin"
_FOLDER_ENGINE: Final = "tinydb"
_OF_TOKENS: Final = frozenset(
    each.name for each in fields(out.Price) if each.default is each.default_factory is MISSING
)
"""Prices by the million tokens; the others are by the call or the search."""


def build(tree: Tree, files: tuple[Path, ...], *, home: Path, shipped: Path | None) -> out.Config:
    """`home` is the store's folder where no file names one, or only `shipped`, whose own folder is no place for it."""
    value = tree.value
    models = {name: _model(name, part, value) for name, part in value.get("models", {}).items()}
    return out.Config(
        server=_section(out.Server, value.get("server"), body_limit=_size),
        store=_store(tree, home, shipped),
        admin=out.Admin(_socket(tree), (value.get("admin", {}).get("http") or {}).get("token") or None),
        mappings=tuple(folder for _, folder in mapping_folders(tree)),
        estimate=_section(out.Estimate, value.get("estimate")),
        materialise=_section(out.Materialise, value.get("materialise"), max_bytes=_size),
        routes=tuple(_route(part) for part in value.get("routes", ())),
        providers={name: _provider(name, part, tree) for name, part in value.get("providers", {}).items()},
        models=models,
        aliases={alias: model for model in models.values() for alias in model.aliases},
        files=files,
        limits=_default_limits(value.get("limits")),
        retry=_section(out.Retry, value.get("retry")),
        breaker=_section(out.Breaker, value.get("breaker")),
        idempotency=_section(out.Idempotency, value.get("idempotency"), max_bytes=_size),
        overload=_section(out.Overload, value.get("overload"), bodies=_size),
        log=_section(out.Log, value.get("log"), retention=_span, body_limit=_size, redact=tuple),
        lines=_section(out.Lines, value.get("lines"), redact=tuple),
        tracing=_section(out.Tracing, value.get("tracing"), headers=dict),
        responses=_section(out.Responses, value.get("responses"), ttl=_span, max_bytes=_size, account_bytes=_size),
    )


def mapping_folders(tree: Tree) -> list[tuple[YamlPath, Path]]:
    """The folders with the path that names each; the shipped one only where it is asked for."""
    named = tree.value.get("mappings", [_BUILTIN])
    return [
        (("mappings", index), data_path("mappings") if name == _BUILTIN else _resolve(tree, ("mappings", index), name))
        for index, name in enumerate(named if isinstance(named, list) else ())
        if isinstance(name, str)
    ]


def _resolve(tree: Tree, path: YamlPath, text: str) -> Path:
    """Relative to the file that names it."""
    place = tree.place(path)
    base = place.file.parent if place else Path.cwd()
    return Path(os.path.normpath(base / Path(text).expanduser()))


def _store(tree: Tree, home: Path, shipped: Path | None) -> out.StoreConfig:
    url: str = tree.value.get("store", {}).get("url", "")
    engine, _, rest = url.partition(":")
    if url and engine != _FOLDER_ENGINE:
        return out.StoreConfig("memory" if engine == "memory" else "postgresql", url)
    path = ("store", "url")
    place = tree.place(path)
    ours = not url or (place is not None and place.file == shipped and not Path(rest).is_absolute())
    folder = home if ours else _resolve(tree, path, rest)
    return out.StoreConfig(_FOLDER_ENGINE, f"{_FOLDER_ENGINE}:{folder}", folder)


def _socket(tree: Tree) -> Path | None:
    text = tree.value.get("admin", {}).get("socket")
    return _resolve(tree, ("admin", "socket"), text) if text else None


def _section(kind: type[_T], value: Mapping[str, Any] | None, **convert: Callable[[Any], Any]) -> _T:
    given = value or {}
    return kind(**{key: convert[key](item) if key in convert else item for key, item in given.items()})


def _span(value: str) -> float:
    return float(value[:-1]) * {"m": 60, "h": 3600, "d": 86_400}[value[-1]]


def _size(value: int | str) -> int:
    if isinstance(value, int):
        return value
    digits, unit = re.fullmatch(r"([0-9]+) ?([A-Za-z]*)", value).groups()  # type: ignore[union-attr]
    return int(digits) * _UNITS[unit or "B"]


def _route(value: Mapping[str, Any]) -> out.Route:
    path: str = value["path"]
    parts = PLACEHOLDER.split(path)
    pattern = "".join(f"(?P<{part}>.+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return out.Route(
        path=path,
        methods=tuple(value.get("methods", ("POST",))),
        format=value["format"],
        stream=value.get("stream"),
        pattern=re.compile(pattern + r"\Z"),
    )


def _provider(name: str, value: Mapping[str, Any], tree: Tree) -> out.Provider:
    prefix, suffix = KEY_SLOT.split(value["auth"]["value"])
    return out.Provider(
        name=name,
        base_url=value["base_url"].rstrip("/"),
        formats=tuple(value["formats"]),
        auth=out.Auth(value["auth"]["header"], prefix, suffix),
        headers=dict(value.get("headers", {})),
        api_key=value.get("api_key") or None,
        api_key_variable=tree.variables.get(("providers", name, "api_key")),
        key_account=value.get("key_account", "default"),
        dialect=value.get("dialect") or None,
        timeouts=_section(out.Timeouts, value.get("timeouts")),
        proxy=value.get("proxy") or None,
        max_connections=value.get("max_connections", 1000),
        probe=value.get("probe", "/models"),
        keys=tuple(_pool_keys(value)),
        key_limits=_section(out.Limits, value.get("key_limits")),
        affinity=value.get("affinity", True),
        key_rest=value.get("key_rest", True),
        otel_name=value.get("otel_name"),
    )


def _pool_keys(value: Mapping[str, Any]) -> Iterator[out.PoolKey]:
    """Those that have a secret: an empty one is a variable that is not set."""
    account: str = value.get("key_account", "default")
    shared = value.get("key_limits") or {}
    for part in value.get("keys", ()):
        if part.get("key"):
            yield out.PoolKey(
                key=part["key"],
                account=part.get("account", account),
                label=part.get("label", ""),
                weight=part.get("weight", 1),
                limits=_section(out.Limits, {**shared, **(part.get("limits") or {})}),
            )


def _default_limits(value: Mapping[str, Any] | None) -> out.DefaultLimits:
    parts = dict(value or {})
    url = parts.pop("url", None) or None
    return out.DefaultLimits(**{name: _section(out.Limits, part) for name, part in parts.items()}, url=url)


def _model(name: str, value: Mapping[str, Any], root: Mapping[str, Any]) -> out.Model:
    terms = _terms(value, root)
    price = _price(value["price"], **terms)

    def price_at(target: Mapping[str, Any]) -> out.Price:
        at = _terms(value, root, target["provider"])
        return price if at == terms and "price" not in target else _price(target.get("price", value["price"]), **at)

    return out.Model(
        id=name,
        owned_by=value["owned_by"],
        created=value["created"],
        price=price,
        context_window=value.get("context_window"),
        max_output_tokens=value.get("max_output_tokens"),
        targets=tuple(
            out.Target(
                provider=target["provider"],
                model=target["model"],
                format=target.get("format"),
                weight=target.get("weight", 1),
                price=price_at(target),
            )
            for target in value["targets"]
        ),
        aliases=tuple(value.get("aliases", ())),
        strategy=value.get("strategy", "priority"),
        fallbacks=tuple(value.get("fallbacks", ())),
        limits=_section(out.Limits, {**((root.get("limits") or {}).get("model") or {}), **(value.get("limits") or {})}),
    )


def _terms(model: Mapping[str, Any], root: Mapping[str, Any], provider: str | None = None) -> dict[str, Any]:
    """Markup and whose word counts for the cost: the model's, else the provider's, else the deployment's."""
    there: Mapping[str, Any] = root.get("providers", {}).get(provider) or {} if provider else {}
    markup = _first("markup", model, there, root)
    return {"markup": _nano(1 if markup is None else markup), "reported": _first("cost", model, there) == "reported"}


def _first(name: str, *places: Mapping[str, Any]) -> Any:
    """What the first of them says that says anything."""
    for place in places:
        if (value := place.get(name)) is not None:
            return value
    return None


def _price(value: Mapping[str, Any], **terms: Any) -> out.Price:
    services = {name: _service_price(value, part, terms) for name, part in value.get("service_tiers", {}).items()}
    return _long_too(value, value.get("tiers", ()), service_tiers=services, **terms)


def _service_price(value: Mapping[str, Any], part: Mapping[str, Any], terms: Mapping[str, Any]) -> out.Price:
    """A service tier's prices: its own, beside the model's `times` so much; only with `times` has it long inputs'."""
    if (times := part.get("times")) is None:
        return _flat({**value, **part}, **terms)
    tiers = [_times(tier, times) for tier in value.get("tiers", ())]
    return _long_too({**_times(value, times), **part}, tiers, **terms)


def _times(value: Mapping[str, Any], times: float) -> dict[str, Any]:
    """With the prices of tokens so many times as high; those of calls and searches stay."""
    factor = Decimal(str(times))
    return {name: Decimal(str(price)) * factor if name in _OF_TOKENS else price for name, price in value.items()}


def _long_too(value: Mapping[str, Any], tiers: Sequence[Mapping[str, Any]], **more: Any) -> out.Price:
    """A price with those of long inputs, the longest first."""
    terms = {name: term for name, term in more.items() if name != "service_tiers"}
    found = [(tier["above"], _flat({**value, **tier}, **terms)) for tier in tiers]
    return _flat(value, tiers=tuple(sorted(found, key=lambda tier: -tier[0])), **more)


def _flat(value: Mapping[str, Any], **more: Any) -> out.Price:
    def nano(*names: str) -> int:
        for name in names:
            if name in value:
                return _nano(value[name])
        return 0

    return out.Price(
        input=nano("input"),
        output=nano("output"),
        cached_input=nano("cached_input", "input"),
        cache_write=nano("cache_write", "input"),
        cache_write_1h=nano("cache_write_1h", "cache_write", "input"),
        reasoning=nano("reasoning", "output"),
        audio_input=nano("audio_input", "input"),
        audio_output=nano("audio_output", "output"),
        image=nano("image", "output"),
        request=nano("request"),
        web_search=nano("web_search"),
        **more,
    )


@lru_cache(maxsize=1024)
def _nano(usd: float | Decimal) -> int:
    """By the text's own decimals, not the float's."""
    return round(Decimal(str(usd)) * out.NANO)
