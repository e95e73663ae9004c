"""A dialect's rules applied one patch at a time, so that each change is known by its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from nexeon.errors import RequestError
from nexeon.mapping import MISSING, Format
from nexeon.mapping.dialect import Dialect, ModelDialect, Rule
from nexeon.mapping.library import line_of
from nexeon.mapping.provenance import Recorder
from nexeon.mapping.source import Map, Node, Scalar, Seq, Source

Context = dict[str, Any]
_NUMBER: Final = re.compile(r"\[\d+\]")


class TracedPatches(ModelDialect):
    """Patches as the rules of a model do.

    `given` is the request's body before them, `sent` after them; `drops` are what they lost, by its path; `refused` is
    the line of the rule that refused the request. `name` is what paths of an answer begin with.
    """

    __slots__ = ("_dialect", "_format", "_recorder", "drops", "given", "name", "refused", "sent")

    def __init__(self, recorder: Recorder, plain: ModelDialect, dialect: Dialect | None, format: Format) -> None:
        super().__init__(plain.profile, plain.wire, plain.rules)
        self._recorder = recorder
        self._dialect = dialect
        self._format = format
        self.given: Any = None
        self.sent: Any = None
        self.drops: dict[str, str] = {}
        self.refused = ""
        self.name = ""

    def request(self, body: Any, ctx: Context) -> Any:
        """What the gateway itself has set by now stands in the `wire` section of the format or the dialect."""
        self._recorder.changed(self._recorder.last, body, self._wire_lines())
        self.given = body
        self.sent = super().request(body, ctx)
        return self.sent

    def _apply(self, part: str, body: Any, ctx: Context) -> Any:
        if part != "request":
            self._recorder.input(body, self.name)
        for rule in self.rules[part]:
            if rule.when is not None:
                verdict = rule.when(body, ctx)
                if verdict is MISSING or not verdict:
                    continue
            for line, single in self._singles(rule):
                body = self._patched(body, ctx, line, single)
        return body

    def _patched(self, body: Any, ctx: Context, line: str, single: Rule) -> Any:
        recorder, before, lost = self._recorder, body, len(ctx["dropped"])
        recorder.returned = ()
        try:
            body = single.apply(body, ctx)
        except RequestError:
            self.refused = line
            raise
        recorder.changed(before, body, lambda path: line)
        if single.drop:
            self.drops |= dict.fromkeys(ctx["dropped"][lost:], line)
        return body

    def _singles(self, rule: Rule) -> Iterator[tuple[str, Rule]]:
        """Each patch as a rule of its own, in the order of `Rule.apply`."""
        parts = ("reject", "rename", "values", "default", "set", "each", "call", "drop", "discard")
        for part in parts:
            patches = getattr(rule, part)
            section = rule.row.get(part) if rule.row is not None else None
            for number, patch in enumerate(patches if isinstance(patches, list) else [patches] if patches else ()):
                single = Rule(rule.globs, rule.profile)
                setattr(single, part, [patch] if isinstance(patches, list) else patch)
                yield self._line(_line(section, number)), single

    def _line(self, number: int) -> str:
        return f"{self._dialect.source.name}:{number}" if self._dialect is not None else ""

    def _wire_lines(self) -> Callable[[str], str]:
        facts: list[tuple[str, str]] = []
        if self._dialect is not None:
            facts += _facts(self._dialect.source, ["formats", self._format.name, "wire", "request"])
        facts += _facts(self._format.source, ["wire", "request"])

        def line(path: str) -> str:
            plain = _without_numbers(path)
            below = (plain + ".", plain + "[")
            return next((place for fact, place in facts if plain == fact or fact.startswith(below)), "")

        return line


def _line(section: Node | None, number: int) -> int:
    if isinstance(section, Map):
        return section.entries[number].key.line
    if isinstance(section, Seq):
        return section.items[number].line
    return section.line if section is not None else 0


def _facts(source: Source, path: list[str]) -> Iterator[tuple[str, str]]:
    """(path, `file:line`) of what is set in a body without a mapping's doing."""
    node: Node | None = source.root
    for step in path:
        node = node.get(step) if isinstance(node, Map) else None
    if not isinstance(node, Map):
        return
    for name in ("model", "stream"):
        one = node.get(name)
        if isinstance(one, Scalar):
            yield str(one.value), f"{source.name}:{one.line}"
    usage = node.get("usage")
    for section in (usage.get("set") if isinstance(usage, Map) else None, node.get("force")):
        if isinstance(section, Map):
            yield from ((path, f"{source.name}:{line}") for path, line in _leaves(section, ""))
    for name in ("ids", "seals"):
        yield from _listed(source, path, name)


def _listed(source: Source, path: list[str], name: str) -> Iterator[tuple[str, str]]:
    node: Node | None = source.root
    for step in [*path, name]:
        node = node.get(step) if isinstance(node, Map) else None
    for item in node.items if isinstance(node, Seq) else ():
        one = item.get("path") if isinstance(item, Map) else item
        if isinstance(one, Scalar):
            yield _without_numbers(str(one.value)), f"{source.name}:{one.line}"


def _leaves(node: Map, path: str) -> Iterator[tuple[str, int]]:
    for entry in node:
        place = f"{path}.{entry.name}" if path else entry.name
        if isinstance(entry.node, Map):
            yield from _leaves(entry.node, place)
        else:
            yield place, entry.key.line


def _without_numbers(path: str) -> str:
    return _NUMBER.sub("[*]", path)


def object_line(format: Format, param: str) -> str:
    """Where a format says that a field names an object kept by a provider."""
    for text, line in _listed(format.source, ["wire", "request"], "objects"):
        if text == _without_numbers(param):
            return line
    return ""


def policy_line(format: Format, path: str) -> str:
    """Where a format's policy speaks of a canonical path."""
    policy = format.data.get("policy", {})
    if path not in policy:
        return ""
    return f"{format.source.name}:{line_of(format.source.root, ['policy', path])}"
