"""What is configured: models with their targets' health, routes, and the whole effective configuration."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from nexeon.admin import values
from nexeon.admin.live import Live
from nexeon.admin.selection import Texts
from nexeon.admin.values import iso
from nexeon.admin.views import View, page
from nexeon.errors import AdminError, NotFound
from nexeon.store.money import to_usd

if TYPE_CHECKING:
    from nexeon.config import Config, Model, Price, Target

Configured = Callable[[], "Config | None"]

HIDDEN: Final = "[hidden]"
_CLASSES: Final = (
    "input",
    "cached_input",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "image",
)


def configured(config: Configured) -> Config:
    """Raises AdminError where there is none."""
    found = config()
    if found is None:
        raise AdminError("nothing here knows the configuration")
    return found


class Models:
    def __init__(self, config: Configured, live: Live) -> None:
        self._config = config
        self._live = live

    async def list(self, *, search: Any = None, after: Any = None, limit: Any = 1000) -> View:
        """A page, in the configuration's order; with `search`, of those with that text in their id, an alias, their
        owner or a target. Prices in USD per 1M tokens (`request`, `web_search`: each)."""
        models = list(configured(self._config).models.values())
        found, following = await Texts(_texts).select(models, search, after, limit)
        return page([self._view(each) for each in found], following)

    async def show(self, *, model: Any) -> View:
        """One model, by its id or an alias."""
        wanted = values.text("model", model)
        found = configured(self._config).model(wanted)
        if found is None:
            raise NotFound(f"no model `{wanted}` in the configuration")
        return self._view(found)

    def _view(self, model: Model) -> View:
        health = self._live.watched.targets() if self._live.watched is not None else {}
        return {
            "id": model.id,
            "owned_by": model.owned_by,
            "created": iso(model.created),
            "aliases": list(model.aliases),
            "context_window": model.context_window,
            "max_output_tokens": model.max_output_tokens,
            "price": _price(model.price),
            "strategy": model.strategy,
            "targets": [_target(each, model, health) for each in model.targets],
            "fallbacks": list(model.fallbacks),
            "limits": {name: limit for name, limit in dataclasses.asdict(model.limits).items() if limit is not None},
        }


class Routes:
    def __init__(self, config: Configured) -> None:
        self._config = config

    async def list(self) -> View:
        """All on one page: where clients ask, and in which format."""
        views = [
            {
                "id": f"{'/'.join(route.methods)} {route.path}",
                "path": route.path,
                "methods": list(route.methods),
                "format": route.format,
                "stream": route.stream,
            }
            for route in configured(self._config).routes
        ]
        return page(views, None)


class Configuration:
    def __init__(self, config: Configured) -> None:
        self._config = config

    async def show(self) -> View:
        """The effective configuration, with every default; secrets are left out. Amounts in nano-USD."""
        shown: View = plain(configured(self._config))
        return shown


def _texts(model: Model) -> tuple[str, ...]:
    targets = [f"{each.provider}/{each.model}" for each in model.targets]
    return (model.id, model.owned_by, *model.aliases, *targets)


def _price(price: Price) -> View:
    view: View = {name: to_usd(getattr(price, name)) for name in _CLASSES}
    view |= {name: to_usd(getattr(price, name)) for name in ("request", "web_search") if getattr(price, name)}
    if price.tiers:
        view["tiers"] = [{"above": above, **_price(tier)} for above, tier in price.tiers]
    if price.service_tiers:
        view["service_tiers"] = {name: _price(tier) for name, tier in price.service_tiers.items()}
    if price.reported:
        view["reported"] = True
    return view


def _target(target: Target, model: Model, health: Mapping[Any, Mapping[str, Any]]) -> View:
    """`state` is `untried` (since the gateway started), `ok` or `open`: left alone because it kept failing."""
    known = health.get((target.provider, target.model, target.format))
    view: View = {
        "provider": target.provider,
        "model": target.model,
        "format": target.format,
        "weight": target.weight,
        "state": "untried" if known is None else "open" if known["open"] else "ok",
        "failures": known["failures"] if known is not None else 0,
        "latency": known["latency"] if known is not None else None,
    }
    if target.price != model.price:
        view["price"] = _price(target.price)
    return view


def plain(value: Any) -> Any:
    """As JSON, without secrets."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: _field(each, getattr(value, each.name)) for each in dataclasses.fields(value) if each.compare
        }
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _field(field: dataclasses.Field[Any], value: Any) -> Any:
    """What is kept out of a repr may hold a secret."""
    if field.repr or not value:
        return plain(value)
    if isinstance(value, str) and "://" in value:
        return re.sub(r"//[^@/]*@", f"//{HIDDEN}@", value)
    return sorted(map(str, value)) if isinstance(value, Mapping) else HIDDEN
