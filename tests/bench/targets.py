"""What is to hold, with the figure that was measured for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.bench.cases import CHAT, FEW_STREAMS, Case, Row, Table
from tests.bench.deployment import SHORT
from tests.bench.growth import WHATS, Sizes
from tests.bench.start import Start

_LEAST = 3
"""Looks at memory that a line is drawn through."""


@dataclass
class Figures:
    """What a run has measured; what was not asked for stays empty. Memory is in MB, by peer."""

    cases: list[Case]
    engine: Mapping[str, float] = field(default_factory=dict)
    table: Table = field(default_factory=dict)
    paced: Table = field(default_factory=dict)
    first: Table = field(default_factory=dict)
    starts: Mapping[str, Start] = field(default_factory=dict)
    begun: Mapping[str, float] = field(default_factory=dict)
    grown: list[tuple[int, float]] = field(default_factory=list)
    million: list[tuple[int, float]] = field(default_factory=list)
    streaming: float | None = None
    growth: Mapping[str, Sizes] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """Why something could not be measured."""

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """What is measured inside may fail without ending the bench."""
        self.failures.pop(what, None)
        try:
            yield
        except (Exception, SystemExit) as error:
            self.failures[what] = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error)
            print(f"{what}: {self.failures[what]}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Target:
    """`figure` with its words, against a bound: at most, or with `least` at least. None: not measured."""

    words: str
    bound: float
    figure: float | None
    where: str = ""
    unit: str = "×"
    least: bool = False

    def line(self) -> str:
        bound = f"{'≥' if self.least else '≤'} {self.bound:g} {self.unit}"
        if self.figure is None:
            return f"{self.words:<58}{bound:>14}{'—':>13}  not measured"
        holds = self.figure >= self.bound if self.least else self.figure <= self.bound
        figure = f"{self.figure:.2f} {self.unit}"
        words = f"{self.words:<58}{bound:>14}{figure:>13}  {'holds' if holds else 'DOES NOT HOLD'}"
        return words + (f"  ({self.where})" if self.where else "")


def targets(seen: Figures) -> list[Target]:
    """All of them, in the order of the table."""
    json, burst = ([case for case in seen.cases if case.way == way and case.make is None] for way in ("json", "burst"))
    found = []
    for words, chosen, bound in (
        ("JSON, same format, beside the echo", [case for case in json if case.same], 1.3),
        ("JSON, another format, beside the echo", [case for case in json if not case.same], 1.6),
        ("burst stream, same format, beside the echo", [case for case in burst if case.same], 1.5),
        ("burst stream, another format, beside the echo", [case for case in burst if not case.same], 2.5),
    ):
        found.append(_worst(words, bound, {case.name: seen.table.get(case.name, []) for case in chosen}, "echo"))
    many = {name: rows for name, rows in seen.paced.items() if not name.startswith(f"{FEW_STREAMS} ")}
    found.append(_worst("paced event, beside the echo", 1.3, many, "echo"))
    for words, name, bound in (
        ("LiteLLM, JSON, same format", "JSON, chat", 12.0),
        ("LiteLLM, JSON, another format", "JSON, chat to messages", 9.0),
        ("LiteLLM, burst stream", "burst, chat", 60.0),
    ):
        found.append(_times(words, bound, seen.table.get(name, []), "litellm"))
    found.append(
        _times("LiteLLM, paced event", 11.0, seen.paced.get(f"{FEW_STREAMS} paced streams, chat", []), "litellm")
    )
    found.append(_times("Portkey, JSON, same format", 1.0, seen.table.get("JSON, chat", []), "portkey"))
    found.append(
        _most("added latency, p50 at one connection", 1.5, _added(seen.table.items(), "p50@1"), "ms"),
    )
    found.append(_most("first streamed text after its arrival, p50", 1.0, _added(seen.first.items(), "p50"), "ms"))
    found += _engine(seen.engine)
    thousand = seen.starts and max(seen.starts.items(), key=lambda item: item[0].endswith("models") and len(item[0]))[1]
    found.append(Target("start to ready with 1,000 models", 1.0, thousand.ready if thousand else None, unit="s"))
    found.append(Target("memory at start", 100.0, seen.begun.get("nexeon"), unit="MB"))
    found.append(_flat(seen.grown))
    found.append(_million(seen.million))
    found.append(Target("memory with 2,000 open paced streams", 400.0, seen.streaming, unit="MB"))
    return found + [_grows(what, seen.growth.get(what, {})) for what in WHATS]


def _grows(what: str, sizes: Sizes) -> Target:
    """A request's cost where there is most of something, beside where there is least."""
    words = f"a request's cost, by {what}"
    if not sizes:
        return Target(words, 1.1, None)
    least, most = min(sizes), max(sizes)
    told = f"{sizes[least].cpu:.0f} µs at {least:,}, {sizes[most].cpu:.0f} µs at {most:,}"
    return Target(words, 1.1, sizes[most].beside or sizes[most].cpu / sizes[least].cpu, told)


def _engine(taken: Mapping[str, float]) -> list[Target]:
    """The mapping engine by itself, JSON apart."""

    def of(verb: str, what: str, by: str = "") -> dict[str, float]:
        names = {name: f"{verb} {what}{name}{by}" for name in SHORT}
        return {short: taken[names[name]] for name, short in SHORT.items() if names[name] in taken}

    chat, by_hand = (taken.get(f"decode {CHAT}{by}", 0.0) for by in ("", " by hand"))
    both = {f"chat to {name}": chat + spent for name, spent in of("encode", "").items()}
    hand = {f"chat to {name}": by_hand + spent for name, spent in of("encode", "", " by hand").items()}
    events = {
        f"{source} to {target}": read + written
        for source, read in of("decode", "an event of ").items()
        for target, written in of("encode", "an event of ").items()
    }
    return [
        _most("mapping engine, 20 messages with tools", 60.0, both, "µs"),
        _most("mapping engine beside code by hand", 1.0, {name: both[name] / hand[name] for name in hand}, "×"),
        _most("mapping engine, a stream's event", 4.0, events, "µs"),
    ]


def _cpu(rows: Iterable[Row], peer: str) -> float | None:
    return next((row.cpu for row in rows if row.peer == peer), None)


def _worst(words: str, bound: float, table: Mapping[str, list[Row]], peer: str) -> Target:
    """The gateway beside a peer, in the case where that is most."""
    ratios = {}
    for name, rows in table.items():
        ours, theirs = _cpu(rows, "nexeon"), _cpu(rows, peer)
        if ours is not None and theirs:
            ratios[name] = ours / theirs
    return _most(words, bound, ratios, "×")


def _times(words: str, bound: float, rows: list[Row], peer: str) -> Target:
    """How much more a peer takes."""
    ours, theirs = _cpu(rows, "nexeon"), _cpu(rows, peer)
    return Target(words, bound, theirs / ours if ours and theirs is not None else None, least=True)


def _most(words: str, bound: float, figures: Mapping[str, float], unit: str) -> Target:
    if not figures:
        return Target(words, bound, None, unit=unit)
    name = max(figures, key=lambda name: figures[name])
    held = sum(figure <= bound for figure in figures.values())
    told = f"{name}; {held} of {len(figures)} hold" if len(figures) > 1 else name
    return Target(words, bound, figures[name], told, unit)


def _added(rows: Iterable[tuple[str, list[Row]]], what: str) -> dict[str, float]:
    return {name: row.added[what] for name, mine in rows for row in mine if row.peer == "nexeon" and what in row.added}


def _flat(grown: list[tuple[int, float]]) -> Target:
    """The most of the last two fifths beside the most of the two before; the first is for getting warm."""
    words = "memory of the last requests beside that of earlier ones"
    count = grown[-1][0] if grown else 0
    early = [size for asked, size in grown if count / 5 <= asked <= count * 3 / 5]
    late = [size for asked, size in grown if asked > count * 3 / 5]
    if not early or not late:
        return Target(words, 1.1, None)
    told = f"at most {max(early):.0f} MB, then {max(late):.0f} MB, of {count:,} requests"
    return Target(words, 1.1, max(late) / max(early), told)


def _million(seen: list[tuple[int, float]]) -> Target:
    """What the second half adds, by the line through it, as a share of what there is."""
    words = "memory that the last 500,000 of a million requests add"
    more = slope(seen) if seen else None
    if more is None or seen[-1][0] < 1_000_000:
        return Target(words, 5, None, unit="%")
    count, size = seen[-1]
    told = f"{more:+.1f} MB for each million; {size:.0f} MB after {count:,}"
    return Target(words, 5, max(0.0, more / 2 / size * 100), told, unit="%")


def slope(seen: list[tuple[int, float]]) -> float | None:
    """MB more for each million requests, in the second half: the line that fits best. None for too few looks."""
    late = [(count / 1e6, size) for count, size in seen if count >= seen[-1][0] / 2]
    if len(late) < _LEAST:
        return None
    middle = sum(count for count, _ in late) / len(late)
    spread = sum((count - middle) ** 2 for count, _ in late)
    return sum((count - middle) * size for count, size in late) / spread


Teller = Callable[[str], None]


def show(seen: Figures, tell: Teller = print) -> None:
    tell(f"\n{'target':<58}{'':>14}{'measured':>13}")
    for target in targets(seen):
        tell(target.line())
    for what, why in seen.failures.items():
        tell(f"{what} could not be measured: {why}")
