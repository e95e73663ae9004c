"""Every recorded exchange explained: what is shown is what the gateway does, and nothing goes without its line."""

from __future__ import annotations

import pytest

from nexeon.config import Config, load_config
from nexeon.data import data_path
from nexeon.errors import RequestError
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.explain import Explainer
from nexeon.gateway.pool.leases import Lease
from nexeon.gateway.target import Preparer, make_plans
from nexeon.store.records import Account, ApiKey
from nexeon.wire.json import dumps, loads

from . import engine
from .cases import FORMATS, MESSAGES, RESPONSES, Case
from .tally import expect_none

ACCOUNT = Account("acc_1", "a", 0.0)
KEY = ApiKey("key_1", "acc_1", "k", 0.0, "", "")
EVERY = 7
"""Of the recordings, one in so many: each is told to all targets."""


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config([data_path("gateway.yaml")], environ={})


@pytest.fixture(scope="module")
def explainer(config: Config) -> Explainer:
    return Explainer(config)


def prepared(case: Case, config: Config, model: str, place: tuple[str, str]) -> tuple[object, list[str]] | None:
    """The body and the losses of the gateway's own way; None where it refuses."""
    client = engine.library().format(case.format)
    found = config.model(model)
    assert found is not None
    assert case.request is not None
    facts = client.wire.request
    body = case.request if facts.model is None else facts.model.put(case.request, model)
    stream = facts.stream is not None and facts.stream.get(body) is True
    exchange = Exchange("req", client, {"model": model}, KEY, ACCOUNT, body, 0, stream, model=found)
    plans = make_plans(config, engine.library(), found, client)
    plan = next(plan for plan in plans if (plan.name, plan.format.name) == place)
    try:
        body = Preparer(exchange, "explain").prepare(plan, Lease("", plan.provider.key_account, "")).body
    except RequestError:
        return None
    return loads(body), exchange.dropped


def test_requests_become_what_is_shown(cases: list[Case], config: Config, explainer: Explainer) -> None:
    failures: list[str] = []
    shown = 0
    for case in [case for case in cases if case.request is not None][::EVERY]:
        for target in explainer.requests([], case.format, dumps(case.request)):
            name = f"{case.name} → {target.provider} {target.format}"
            if target.refusal:
                if not target.line and "must" not in target.refusal:
                    failures.append(f"{name}: refused by no line: {target.refusal}")
                continue
            real = prepared(case, config, target.asked, (target.provider, target.format))
            if real != (target.body, target.dropped):
                failures.append(f"{name}: another body, or other losses")
            failures += [f"{name}: {loss.name} lost by no line" for loss in target.losses if not loss.line]
            if not target.piped:
                failures += [f"{name}: {value.path} of no line" for value in target.values if not value.lines]
                shown += len(target.values)
    assert shown > 1000
    expect_none(failures)


@pytest.mark.parametrize("client", FORMATS)
def test_answers_become_what_is_shown(client: str, cases: list[Case], config: Config, explainer: Explainer) -> None:
    failures: list[str] = []
    shown = sourced = 0
    for case in cases[::EVERY]:
        if case.format == client or case.provider not in config.providers:
            continue
        model = next(
            name
            for name, model in config.models.items()
            if any(target.provider == case.provider for target in model.targets)
        )
        to = [case.provider, case.format]
        if case.stream:
            (found,) = explainer.streams([model], client, case.sse, to=to)
        else:
            (found,) = explainer.answers([model], client, case.raw, to=to)
        if found.failure:
            failures.append(f"{case.name} → {client}: {found.failure}")
        told = [one for part in found.parts for one in part.told]
        real = engine.stream(case, client, usage=False) if case.stream else [engine.answer(case, client)]
        if client in (RESPONSES, MESSAGES) and [one.get("type") for one in told] != [one.get("type") for one in real]:
            failures.append(f"{case.name} → {client}: other events")
        values = [value for part in found.parts for one in part.values for value in one]
        shown += len(values)
        sourced += sum(value.how != "gateway" for value in values)
    assert sourced > 0.9 * shown > 0
    expect_none(failures)
