"""The upstream requests that a client's request becomes: the gateway's own way, without sending anything."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

from nexeon.config import Config, Model
from nexeon.errors import ConfigError, Problem, RequestError
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.explain.differences import differences
from nexeon.gateway.provider_keys import Lease
from nexeon.gateway.target import Plan, Preparer, make_plans
from nexeon.gateway.validate import check_objects, load_validators
from nexeon.gateway.way import read_body
from nexeon.mapping import Format, Library, load_library
from nexeon.store.records import Account, ApiKey
from nexeon.wire.json import loads

_NOBODY = Account("acc_explain", "explain", 0.0)
_KEY = ApiKey("key_explain", _NOBODY.id, "explain", 0.0, "", "")


@dataclass(slots=True)
class Explained:
    """One target's request. `patches` is what was changed in the client's own body, where the formats are the same."""

    provider: str
    model: str
    format: str
    url: str = ""
    body: Any = None
    patches: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    refusal: str = ""

    def view(self) -> dict[str, Any]:
        return asdict(self)


def explain(
    config: Config, request: bytes, *, model: str, source: str, library: Library | None = None
) -> list[Explained]:
    """For each target of the model. Raises ConfigError (no such model or format), MappingError.

    A request that no target could have, because it is not valid in its own format, is every target's refusal.
    """
    library = library or load_library(config.mappings)
    known = config.model(model)
    if known is None:
        raise _unknown("model", model, config.models)
    if source not in library.formats:
        raise _unknown("format", source, library.formats)
    client = library.format(source)
    return [_target(plan, request, known, client, library) for plan in make_plans(config, library, known, client)]


def _target(plan: Plan, request: bytes, model: Model, client: Format, library: Library) -> Explained:
    found = Explained(plan.name, plan.target.model, plan.format.name)
    facts = client.wire.request
    try:
        body = read_body({}, request)
        sent = body if facts.model is None else facts.model.put(body, model.id)
        validator = load_validators([client.name], library.folders).get(client.name)
        if validator is not None:
            validator.check(sent)
        check_objects(client.wire, sent)
        exchange = Exchange(
            id="req_explain",
            format=client,
            path={"model": model.id},
            key=_KEY,
            account=_NOBODY,
            body=sent,
            size=len(request),
            stream=facts.stream is not None and facts.stream.get(sent) is True,
            model=model,
        )
        prepared = Preparer(exchange, "explain").prepare(plan, Lease("", plan.provider.key_account, ""))
    except RequestError as error:
        found.refusal = f"{error.param}: {error.message}" if error.param else error.message
        return found
    found.url = plan.provider.base_url + prepared.path
    found.body = loads(prepared.body)
    found.patches = differences(body, found.body) if plan.piped else []
    found.dropped = exchange.dropped
    return found


def _unknown(kind: str, name: str, known: Collection[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(sorted(known))[:300]}"
    return ConfigError([Problem(f"no {kind} `{name}`: {hint}")])
