"""Model lists, in every shape that clients know: each shape is a file under `catalogs/` of a mapping folder.

    catalog: NAME
    format: whose errors and keys this endpoint's clients use
    path: the list's URL path; one model's is below it
    header: a request header that chooses this shape where several have one path (optional)
    also: [{path, header}]    further paths of the same list (optional)
    page: {size, after, before, most}    the query's words for the longest page, for the model that comes before it and
                                         the one after it; the largest size (optional: all but `size` and `most` too)
    define: …
    list: template over `body` (models, query, more: whether others follow)      item: template over `model`

Without a size, a page goes to the list's end. A model is
`{id, owned_by, created, created_at, context_window, max_output_tokens}` (Unix seconds, and the same as a
date-time in UTC); a list has only those that the key may use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from nexeon.config import Model
from nexeon.errors import MappingError, MappingFailure, Problem, RequestError
from nexeon.gateway.admit import may_use, not_available
from nexeon.gateway.authenticate import authenticate
from nexeon.gateway.partfiles import PartFiles
from nexeon.gateway.server.router import Endpoint
from nexeon.gateway.validate import invalid
from nexeon.gateway.way import Incoming, Reply
from nexeon.mapping import Format, Library, new_context
from nexeon.mapping.module import Module
from nexeon.mapping.runtime import Transform
from nexeon.mapping.source import Map, Node, Source, plain
from nexeon.wire.json import dumps

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway

_FOLDER: Final = "catalogs"


@dataclass(frozen=True, slots=True)
class Catalog:
    """One shape of model lists, compiled."""

    name: str
    format: Format
    places: tuple[tuple[str, str | None], ...]
    page: Mapping[str, Any]
    list: Transform
    item: Transform


def load_catalogs(library: Library, files: PartFiles | None = None) -> list[Endpoint]:
    """The endpoints of every catalog file. Raises MappingError with every problem of every file."""
    catalogs = (files or PartFiles()).load(library, _FOLDER, _compile)
    endpoints = []
    for catalog in catalogs:
        for top, header in catalog.places:
            below = re.compile(re.escape(top) + r"/(?P<model>.+)\Z")
            for place, handler, pattern in ((top, _list, None), (top + "/{model}", _item, below)):
                endpoints.append(Endpoint(place, ("GET",), handler, catalog.format, pattern, None, header, catalog))
    return sorted(endpoints, key=lambda endpoint: endpoint.header is None)  # the choosier first


def _compile(source: Source, library: Library) -> Catalog:
    data = plain(source.root)
    if not isinstance(source.root, Map) or not isinstance(data, dict):
        raise MappingError([Problem("a catalog is a map", source.name, 1)])
    missing = [name for name in ("catalog", "format", "path", "list", "item") if name not in data]
    if missing:
        raise MappingError([Problem(f"a catalog needs `{name}`", source.name, 1) for name in missing])
    module = Module(source)
    make_list = module.add(_part(source.root, "list"), "body", "list")
    make_item = module.add(_part(source.root, "item"), "model", "item")
    module.finish()
    page = data.get("page", {})
    if page and not (isinstance(page, dict) and "size" in page and isinstance(page.get("most"), int)):
        raise MappingError([Problem("`page` needs `size`, a name, and `most`, a number", source.name, 1)])
    return Catalog(
        name=str(data["catalog"]),
        format=library.format(str(data["format"])),
        places=tuple(
            (str(place["path"]).rstrip("/"), str(place["header"]).lower() if place.get("header") else None)
            for place in (data, *data.get("also", ()))
        ),
        page=page,
        list=make_list(),
        item=make_item(),
    )


def _part(root: Map, name: str) -> Node:
    node = root.get(name)
    assert node is not None
    return node


async def _list(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    catalog: Catalog = endpoint.extra
    key, _ = authenticate(gateway, incoming, catalog.format.wire.request.key_query, write=False)
    models = [_facts(model) for model in gateway.config.models.values() if may_use(key, model)]
    query = _without_secrets(catalog, incoming)
    models, more = _page(catalog.page, models, query) if catalog.page else (models, False)
    return _reply(catalog, catalog.list, {"models": models, "query": query, "more": more})


def _page(page: Mapping[str, Any], models: list[dict[str, Any]], query: Mapping[str, str]) -> tuple[Any, bool]:
    """The models that the query asks for, and whether others follow in its direction. Raises RequestError 400."""
    asked, most = query.get(page["size"]), page["most"]
    size = int(asked) if asked and asked.isascii() and asked.isdigit() and len(asked) < 10 else None if not asked else 0
    if size == 0:
        raise invalid(f"`{page['size']}` must be a number from 1 to {most}", page["size"])
    size = len(models) if size is None else min(size, most)
    ids = [model["id"] for model in models]

    def place(word: str) -> int | None:
        name = page.get(word)
        mark = query.get(name) if name is not None else None
        if not mark:
            return None
        if mark not in ids:
            raise invalid(f"`{name}` names no model of this list", name)
        return ids.index(mark)

    before = place("before")
    if before is not None:
        first = max(before - size, 0)
        return models[first:before], first > 0
    after = place("after")
    first = 0 if after is None else after + 1
    return models[first : first + size], first + size < len(models)


async def _item(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    catalog: Catalog = endpoint.extra
    key, _ = authenticate(gateway, incoming, catalog.format.wire.request.key_query, write=False)
    model = gateway.config.model(path["model"])
    if model is None or not may_use(key, model):
        raise not_available(path["model"])
    return _reply(catalog, catalog.item, _facts(model))


def _reply(catalog: Catalog, transform: Transform, value: Any) -> Reply:
    try:
        return Reply(200, dumps(transform(value, new_context(format=catalog.format.name))))
    except MappingFailure as failure:
        raise RequestError(500, "internal", f"catalog `{catalog.name}`: {failure.message}") from failure


def _without_secrets(catalog: Catalog, incoming: Incoming) -> dict[str, str]:
    secret = catalog.format.wire.request.key_query
    return {name: value for name, value in incoming.query.items() if name != secret}


def _facts(model: Model) -> dict[str, Any]:
    date = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    facts: dict[str, Any] = {"id": model.id, "owned_by": model.owned_by, "created": model.created, "created_at": date}
    if model.context_window is not None:
        facts["context_window"] = model.context_window
    if model.max_output_tokens is not None:
        facts["max_output_tokens"] = model.max_output_tokens
    return facts
