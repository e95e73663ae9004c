"""Relays over the shipped formats, without HTTP."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from nexeon.config import Config, load_config
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.relay import Pipe, Relay, Translation
from nexeon.gateway.target import Plan, Preparer, make_plans
from nexeon.mapping import Library, load_library
from nexeon.store import Account, ApiKey
from tests.bench import deployment


@cache
def deployed() -> tuple[Config, Library]:
    with TemporaryDirectory() as folder:
        config = load_config([deployment.configuration(Path(folder), "http://127.0.0.1:9")], environ={})
    return config, load_library(config.mappings)


def exchange_of(
    client: str, upstream: str, make: Callable[[str], dict[str, Any]], *, stream: bool = False
) -> tuple[Exchange, Plan]:
    """A request of one format on its way to a provider of another; `make` gives its body."""
    config, library = deployed()
    name = deployment.model("burst" if stream else "json", upstream)
    model = config.models[name]
    exchange = Exchange(
        id="req_1",
        format=library.format(client),
        path={"model": name},
        key=ApiKey("key_1", "acc_1", "k", 0.0, "", ""),
        account=Account("acc_1", "a", 0.0),
        body=make(name),
        size=100,
        stream=stream,
        model=model,
    )
    exchange.target = model.targets[0]
    (plan,) = make_plans(config, library, model, exchange.format)
    return exchange, plan


def relay(client: str, upstream: str, *, usage: bool = False) -> Relay:
    """A stream of one format on its way to a client of another; `usage`: the client asks for it."""

    def asked(name: str) -> dict[str, Any]:
        body = deployment.body(client, name, stream=True)
        return {**body, "stream_options": {"include_usage": True}} if usage else body

    exchange, plan = exchange_of(client, upstream, asked, stream=True)
    preparer = Preparer(exchange, "0123456789abcdef01234567")
    prepared = preparer.prepare(plan, SimpleNamespace(account="default"))  # type: ignore[arg-type]
    made = (Pipe if plan.piped else Translation)(exchange, plan, prepared, preparer.answer_context(plan))
    made.context["now"] = made.client_context["now"] = 1_700_000_000
    return made
