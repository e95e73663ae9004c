"""The dashboard asks for nothing that the gateway does not measure: each query against a live `/metrics`."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
from conftest import Gate, Opener, until
from scripts import EVENTS, notes, says, streams, talks
from upstream import Call

from nexeon.gateway.server.reload import Reloader

DASHBOARD = json.loads((Path(__file__).parents[2] / "docs" / "grafana.json").read_text(encoding="utf-8"))
_SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? [-+0-9.e]+\Z")
_SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""


def queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]).groups()  # type: ignore[union-attr]
            yield variable["name"], f"count by ({label}) ({name})"


def asked(expression: str) -> tuple[dict[str, set[str]], set[str]]:
    """The labels that are compared, by metric, and those that a sum keeps."""
    found: dict[str, set[str]] = {}
    kept: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql.MatrixSelector):
            return True
        if isinstance(node, promql.VectorSelector):
            names = {matcher.name for matcher in node.matchers.matchers}
            found[str(node.name)] = found.get(str(node.name), set()) | names
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            kept.update(node.modifier.labels)
        return True

    promql.walk(promql.parse(expression.replace("$__rate_interval", "5m")), visit)
    return found, kept


def series(text: str) -> dict[str, set[str]]:
    """The labels of every metric that has a value."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = _SAMPLE.fullmatch(line).groups()  # type: ignore[union-attr]
            found[name] |= set(re.findall(r'(\w+)="', labels or ""))
    return found


async def everything(gate: Gate) -> str:
    """The measures of a gateway to which all sorts of things have happened."""

    async def strange(call: Call) -> None:
        await streams(EVENTS[0], {"strange": {"to": ["everyone"]}, "text": 7}, *EVENTS[1:])(call)

    async def breaks_off(call: Call) -> None:
        await call.begin_stream()
        await call.event(EVENTS[0])
        await call.event(EVENTS[1])
        call.writer.close()  # after what was sent, which a reset could overtake

    lossy = says({"note": "x", "aside": 1, "cut": False, "tokens": [1, 1]})
    gate.upstream.plays(talks(), talks(), strange, breaks_off, lossy)
    assert (await gate.talk()).status_code == 200
    assert (await gate.talk(stream=True)).status_code == 200
    await gate.talk(stream=True)  # neither known nor with a usage
    await gate.talk(stream=True)
    assert (await gate.talk("noted", top=3)).headers["x-nexeon-dropped"]
    gate.upstream.plays(says({"problem": "no"}, 401), talks(), says({"problem": "slow"}, 429), talks())
    gate.upstream.calls.clear()
    await gate.talk()
    await gate.talk()
    gate.upstream.plays(notes())
    headers = {"idempotency-key": "once"}
    for _ in range(2):
        await gate.client.post("/notes/noted", json={"lines": ["x"]}, headers=headers)
    gate.gateway.admission.settings = type(gate.gateway.admission.settings)(running=0, queue=0)
    assert (await gate.talk()).status_code == 503
    gate.gateway.admission.settings = gate.gateway.config.overload
    gate.gateway.metrics.stalled("connection")  # which takes its time to happen
    statuses = [(await gate.talk()).status_code for _ in range(12)]
    assert 429 in statuses
    services = gate.gateway.services
    await Reloader(services, lambda: gate.gateway.config, gate.gateway.config).reload("test")
    await until(lambda: "nexeon_event_loop_lag_seconds_count" in services.measured())
    return (await gate.client.get("/metrics")).text


async def test_every_query_finds_what_it_asks_for(opened: Opener) -> None:
    def change(value: dict[str, Any]) -> None:
        value["providers"]["one"]["keys"] = [{"key": "second"}, {"key": "third"}]
        value["limits"] = {"model": {"rpm": 10}}

    known = series(await everything(await opened(change)))
    wrong = []
    for title, expression in queries():
        metrics, kept = asked(expression)
        assert metrics, expression
        labels = set(_SCRAPED)
        for name, compared in metrics.items():
            if name not in known:
                wrong.append(f"{title}: no {name}")
            elif missing := compared - known[name] - _SCRAPED:
                wrong.append(f"{title}: {name} has no {missing}")
            labels |= known.get(name, set())
        if kept - labels:
            wrong.append(f"{title}: nothing has {kept - labels}")
    assert wrong == []


async def test_every_measure_is_shown(opened: Opener) -> None:
    """So that a new one does not go unseen."""
    gate = await opened(lambda value: value.update(limits={"model": {"rpm": 10}}))
    families = set(re.findall(r"^# TYPE (\S+) ", (await gate.client.get("/metrics")).text, re.MULTILINE))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for _, expression in queries() for name in asked(expression)[0]}
    assert families - shown == {"nexeon_reload_last_duration_seconds"}


def test_places_do_not_overlap_and_ids_are_unique() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])
        }  # fmt: skip
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


@pytest.mark.parametrize("expression", ["sum(", "rate(x)", 'x{a=~"("}'])
def test_the_parser_would_see_a_mistake(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        promql.parse(expression)
