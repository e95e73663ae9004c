"""Where the values of an output came from: which line of which mapping placed them, and what of the input they say.

Only explaining pays for it. A `Recorder` is told of everything that the functions of a traced library (`trace.py`) read
and place. It knows containers by their identity: what a map or list holds is known by its place in it, whatever becomes
of the map afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

Key = str | int
Read = tuple[Any, Key]
"""A container, and what of it was read."""

_LONGEST_WALK: Final = 20_000
_KEPT: Final = 400_000


@dataclass(frozen=True, slots=True)
class Step:
    """One value put into one place. `line`: `file:line` of the mapping, "" where it was only carried over."""

    line: str
    reads: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """What a `$drop` lost: `data` is what was in sight there, the innermost first."""

    line: str
    reason: str
    data: tuple[Any, ...]


@dataclass(slots=True)
class Origin:
    """`lines` are those of the mappings on the way, the first one first; `sources` the input's paths; `same`: the value
    is one of the input's as it was."""

    lines: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    same: bool = False


def fresh(value: Any) -> Any:
    """A copy in which every text of two characters or more is an object of its own."""
    if type(value) is dict:
        return {key: fresh(item) for key, item in value.items()}
    if type(value) is list:
        return [fresh(item) for item in value]
    return value[:1] + value[1:] if type(value) is str and len(value) > 1 else value


class Recorder:
    """What one run noted. `begin` forgets the run before."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.log: list[Read] = []
        self.marks: list[int] = []
        self.pending: list[tuple[Read, ...]] = []
        self.taken: list[tuple[Read, ...]] = []
        self.losses: list[Loss] = []
        self.returned: tuple[Read, ...] = ()
        self._steps: dict[int, dict[Key, Step]] = {}
        self._inputs: dict[int, str] = {}
        self._texts: dict[int, Read] = {}
        self._roots: list[Any] = []
        self._alive: list[Any] = []
        self._seen: set[tuple[int, Key]] = set()

    # what is put in

    def input(self, value: Any, name: str = "") -> None:
        """Names a tree: the paths of what it holds begin with `name`."""
        for container, path in _containers(value, name):
            if id(container) not in self._inputs:
                self._inputs[id(container)] = path
                self._alive.append(container)
                for key, item in _items(container):
                    if type(item) is str and len(item) > 1:
                        self._texts.setdefault(id(item), (container, key))
        if not name.startswith("ctx"):
            self._roots.append(value)

    def next(self) -> None:
        """Another piece of a stream comes: what a mapping is given from now on is not made of what came before."""
        self._roots = []

    def output(self, value: Any) -> None:
        """What a later mapping may be given, wholly or in parts."""
        self._roots.append(value)

    def known(self, container: Any) -> bool:
        return id(container) in self._steps or id(container) in self._inputs

    def knows(self, container: Any, key: Key) -> bool:
        return id(container) in self._inputs or key in self._steps.get(id(container), ())

    def read(self, container: Any, key: Key) -> None:
        self.log.append((container, key))
        self._seen.add((id(container), key))

    def note(self, container: Any, key: Key, line: str, reads: Iterable[Read]) -> None:
        """`container[key]` was placed by that line, from what was read."""
        steps = self._steps.get(id(container))
        if steps is None:
            steps = self._steps[id(container)] = {}
            self._alive.append(container)
        value = container[key]
        own = tuple(reads)
        known = self._texts.get(id(value)) if type(value) is str else None
        if known is not None and not any(_value(read) is value for read in own):
            own = (_holder(own, value) or known,)
        steps[key] = Step(line, own)

    def carry(self, container: Any, key: Key, old: Any, old_key: Key, line: str = "") -> None:
        """`container[key]` is `old[old_key]`."""
        step = self._steps.get(id(old), {}).get(old_key)
        self.note(container, key, line, ((old, old_key),) if step is None or line else step.reads)
        if step is not None and not line:
            self._steps[id(container)][key] = step

    def adopt(self, value: Any, sources: Iterable[Any], line: str = "") -> None:
        """Containers that are new are taken to hold what the sources held under the same key, or at the same place."""
        strangers = [container for container, _ in _containers(value, "") if not self.known(container)]
        if not strangers:
            return
        holders: dict[int, list[Read]] = {}
        count = 0
        for source in sources:
            for container, _ in _containers(source, ""):
                for key, item in _items(container):
                    holders.setdefault(id(item), []).append((container, key))
                    count += 1
                if count > _LONGEST_WALK:
                    break
        for container in strangers:
            for key, item in _items(container):
                held = holders.get(id(item), ())
                place = next((one for one in reversed(held) if one[1] == key), None)
                if place is None and (type(item) in (dict, list, float) or id(item) in self._texts):
                    place = held[-1] if held else None
                if place is not None:
                    self.carry(container, key, *place)
                else:
                    self.note(container, key, line, ())

    def enter(self, value: Any, ctx: dict[str, Any]) -> None:
        """A traced function is called from outside."""
        if id(ctx) not in self._inputs:
            self.input(ctx, "ctx")
        if type(value) in (dict, list):
            self.adopt(value, self._roots)

    @property
    def last(self) -> Any:
        """The tree that came last."""
        return self._roots[-1]

    def changed(self, before: Any, after: Any, line: Callable[[str], str], path: str = "") -> None:
        """One tree was made of the other, by what stands at the line that is told for a path."""
        if after is before or type(after) not in (dict, list) or self.known(after):
            return
        pairs = _counterparts(before, after)
        for key, item in _items(after):
            place, old_key = joined(path, key), pairs.get(key)
            if old_key is None:
                self.note(after, key, line(place), self.returned)
            elif before[old_key] is item or _same(before[old_key], item):
                self.carry(after, key, before, old_key)
            elif type(item) in (dict, list) and type(before[old_key]) is type(item):
                self.changed(before[old_key], item, line, place)
                self.carry(after, key, before, old_key)
            else:
                self.note(after, key, line(place), ((before, old_key), *self.returned))

    # what comes out

    def path(self, container: Any) -> str | None:
        """Where an input's container stands."""
        return self._inputs.get(id(container))

    def origin(self, container: Any, key: Key) -> Origin:
        """Of one value."""
        found = Origin()
        self._trace(container, key, found, set())
        found.lines = list(dict.fromkeys(line for line in found.lines if line))
        found.sources = list(dict.fromkeys(found.sources))
        if len(found.sources) > 1:  # a map that was read for what is in it says nothing more
            found.sources = [
                one
                for one in found.sources
                if not any(other != one and other.startswith((one + ".", one + "[")) for other in found.sources)
            ]
        return found

    def _trace(self, container: Any, key: Key, found: Origin, seen: set[tuple[int, Key]]) -> None:
        if (id(container), key) in seen:
            return
        seen.add((id(container), key))
        path = self._inputs.get(id(container))
        if path is not None:
            found.sources.append(joined(path, key))
            found.same = True
            return
        step = self._steps.get(id(container), {}).get(key)
        if step is None:
            return
        value = container[key]
        reads = [read for read in step.reads if _there(read)]
        inner = [read for read in reads if not any(_value(read) is other[0] for other in reads)]
        equal = [read for read in inner if _same(_value(read), value)]
        for read in equal[:1] or inner:
            self._trace(*read, found, seen)
        found.same = found.same and bool(equal)
        found.lines.append(step.line)


def joined(path: str, key: Key) -> str:
    """`a.b`, `a[0]`."""
    if type(key) is int:
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else str(key)


def _containers(value: Any, name: str) -> Iterator[tuple[Any, str]]:
    """Every map and list of a tree, the outermost first."""
    stack = [(value, name)]
    count = 0
    while stack and count < _KEPT:
        one, path = stack.pop()
        if type(one) not in (dict, list):
            continue
        count += 1
        yield one, path
        below = [(item, joined(path, key)) for key, item in _items(one) if type(item) in (dict, list)]
        stack += reversed(below)


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if type(container) is dict else enumerate(container)


def _holder(reads: tuple[Read, ...], value: str) -> Read | None:
    """Where that very text stands below what was read."""
    for read in reads:
        for container, _ in _containers(_value(read), ""):
            for key, item in _items(container):
                if item is value:
                    return container, key
    return None


def _there(read: Read) -> bool:
    container, key = read
    if type(container) is dict:
        return key in container
    return type(container) is list and type(key) is int and key < len(container)


def _value(read: Read) -> Any:
    return read[0][read[1]] if _there(read) else None


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and type(a) not in (dict, list) and bool(a == b))


def _counterparts(before: Any, after: Any) -> dict[Any, Any]:
    """Which key of the one stands for which of the other."""
    if type(before) is not type(after):
        return {}
    if type(after) is dict:
        return {key: key for key in after if key in before}
    if len(before) == len(after):
        return {number: number for number in range(len(after))}
    places = {id(item): number for number, item in enumerate(before)}
    return {number: places[id(item)] for number, item in enumerate(after) if id(item) in places}
