"""A provider's flavour of a format: patches of the wire body, per upstream model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final

from nexeon.errors import RequestError
from nexeon.mapping.missing import MISSING
from nexeon.mapping.module import Module
from nexeon.mapping.paths import Path
from nexeon.mapping.runtime import Transform
from nexeon.mapping.scope import did_you_mean
from nexeon.mapping.source import Map, Node, Seq, Source, plain
from nexeon.mapping.wirefacts import WireFacts, wire_facts

Context = dict[str, Any]
_PATCHED = ("request", "response", "event", "error")
OUR_FACTS: Final = frozenset({"materialise", "several_answers"})
"""Facts of a profile that decide how the provider is called, and which no mapping reads."""


def _through(table: Mapping[Any, Any], value: Any) -> Any:
    return table.get(value, value) if type(value) is str else value


def _each(template: Transform, ctx: Context, item: Any) -> Any:
    return template(item, ctx)


@dataclass(slots=True)
class Rule:
    """One row of a dialect; `row` is where it is written."""

    globs: tuple[str, ...]
    profile: Mapping[str, Any]
    when: Transform | None = None
    reject: list[tuple[Path, str]] = field(default_factory=list)
    rename: list[tuple[Path, Path]] = field(default_factory=list)
    values: list[tuple[Path, Mapping[Any, Any]]] = field(default_factory=list)
    default: list[tuple[Path, Transform]] = field(default_factory=list)
    set: list[tuple[Path, Transform]] = field(default_factory=list)
    each: list[tuple[Path, Transform]] = field(default_factory=list)
    call: Transform | None = None
    drop: list[Path] = field(default_factory=list)
    discard: list[Path] = field(default_factory=list)
    row: Map | None = None

    def matches(self, model: str) -> bool:
        return any(fnmatchcase(model, glob) for glob in self.globs)

    @property
    def patches(self) -> bool:
        parts = (self.reject, self.rename, self.values, self.default, self.set, self.each, self.drop, self.discard)
        return any(parts) or self.call is not None

    def apply(self, body: Any, ctx: Context) -> Any:
        """The patched body; shares with the old one whatever was not touched."""
        if self.when is not None:
            verdict = self.when(body, ctx)
            if verdict is MISSING or not verdict:
                return body
        for path, message in self.reject:
            if (found := next(path.found(body), None)) is not None and found[1] is not None:
                raise RequestError(400, "invalid_request", message, param=found[0])
        for old, new in self.rename:
            value = old.get(body)
            if value is not MISSING:
                body = old.remove(body)
                if new.get(body) is MISSING:
                    body = new.put(body, value)
        for path, table in self.values:
            body = path.change(body, partial(_through, table))
        for path, template in self.default:
            if path.get(body) is MISSING and (value := template(body, ctx)) is not MISSING:
                body = path.put(body, value)
        for path, template in self.set:
            if (value := template(body, ctx)) is not MISSING:
                body = path.put(body, value)
        for path, template in self.each:
            body = path.change(body, partial(_each, template, ctx))
        if self.call is not None and (result := self.call(body, ctx)) is not MISSING:
            body = result
        for path in self.drop:
            if path.get(body) is not MISSING:
                body = path.remove(body)
                ctx["dropped"].append(path.text)
        for path in self.discard:
            body = path.remove(body)
        return body


class ModelDialect:
    """The rules of one dialect for one format and one upstream model, chosen at load."""

    __slots__ = ("profile", "rules", "wire")

    def __init__(self, profile: dict[str, Any], wire: WireFacts, rules: Mapping[str, list[Rule]]) -> None:
        self.profile = profile
        self.wire = wire
        self.rules = rules

    @property
    def materialised(self) -> frozenset[str]:
        """Block types whose address this model does not take, so that its bytes are fetched."""
        return frozenset(self.profile.get("materialise", self.wire.request.materialise))

    @property
    def several(self) -> bool:
        """Whether this model gives several answers to one request."""
        return bool(self.wire.request.answers) and self.profile.get("several_answers") is not False

    def _apply(self, part: str, body: Any, ctx: Context) -> Any:
        for rule in self.rules[part]:
            body = rule.apply(body, ctx)
        return body

    def request(self, body: Any, ctx: Context) -> Any:
        """Patches the body on its way up; raises RequestError where a rule rejects it."""
        return self._apply("request", body, ctx)

    def response(self, body: Any, ctx: Context) -> Any:
        """Patches an answer before it is decoded."""
        return self._apply("response", body, ctx)

    def event(self, body: Any, ctx: Context) -> Any:
        """Patches a stream event before it is decoded."""
        return self._apply("event", body, ctx)

    def leaves_event(self, body: Any, ctx: Context) -> bool:
        """Whether `event` gives back an event with opaque parts as it is. Raises Touched where they are read."""
        for rule in self.rules["event"]:
            verdict = rule.when.opaque(body, ctx) if rule.when is not None else True
            if verdict is not MISSING and verdict:
                return False
        return True

    def error(self, body: Any, ctx: Context) -> Any:
        """Patches an error body before it is decoded."""
        return self._apply("error", body, ctx)


class Dialect:
    """A dialect file, compiled. Made by `load_library`."""

    def __init__(self, source: Source, formats: Mapping[str, Mapping[str, Any]]) -> None:
        """`formats`: each format file's data, for the wire facts that the dialect overrides."""
        assert isinstance(source.root, Map)
        self.source = source
        data = plain(source.root)
        self.name: str = data["dialect"]
        self.data: Mapping[str, Any] = data
        self._wire: dict[str, WireFacts] = {}
        self._profiles: dict[str, dict[str, Any]] = {}
        self._rules: dict[str, dict[str, list[Rule]]] = {}
        self._cache: dict[tuple[str, str], ModelDialect] = {}
        self.module = self.compiled(source)
        pending: list[Callable[[], None]] = []
        sections = source.root.get("formats")
        assert isinstance(sections, Map)
        for entry in sections:
            if entry.name not in formats:
                self.module.unit.problem(
                    f"unknown format `{entry.name}`{did_you_mean(entry.name, formats)}", entry.key.line
                )
            elif isinstance(entry.node, Map):
                self._section(entry.name, entry.node, pending)
        self.module.finish()
        for step in pending:
            step()
        self._base = {name: facts["wire"] for name, facts in formats.items()}
        for name, wire in self._base.items():
            own = data["formats"].get(name, {}).get("wire", {})
            merged = {part: {**wire.get(part, {}), **own.get(part, {})} for part in {*wire, *own}}
            self._wire[name] = wire_facts(merged)

    def forget_rows(self) -> None:
        """Where its rules are written is not known from here on."""
        for parts in self._rules.values():
            for rules in parts.values():
                for rule in rules:
                    rule.row = None

    def fits(self, formats: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether these formats' data say of the wire what those say of which it was made."""
        return self._base == {name: facts["wire"] for name, facts in formats.items()}

    def compiled(self, source: Source) -> Module:
        """What compiles the file; another kind of dialect may have another."""
        return Module(source)

    def _section(self, name: str, node: Map, pending: list[Callable[[], None]]) -> None:
        profile = node.get("profile")
        self._profiles[name] = plain(profile) if profile is not None else {}
        self._rules[name] = {}
        for part in _PATCHED:
            rows = node.get(part)
            self._rules[name][part] = []
            if isinstance(rows, Seq):
                for number, row in enumerate(rows.items):
                    if isinstance(row, Map):
                        rule = self._rule(row, f"{name}.{part}.{number}", pending)
                        self._rules[name][part].append(rule)

    def _rule(self, node: Map, label: str, pending: list[Callable[[], None]]) -> Rule:
        row = plain(node)
        globs = tuple(part.strip() for part in str(row.get("match", "*")).split("|"))
        rule = Rule(globs, row.get("profile", {}), row=node)
        unit = self.module.unit

        def paths(part: str) -> list[Path]:
            return [Path(text) for text in row.get(part, ())]

        def templates(part: str, root: str, into: list[tuple[Path, Transform]]) -> None:
            section: Node | None = node.get(part)
            if isinstance(section, Map):
                for entry in section:
                    make = self.module.add(entry.node, root, f"{label}.{part}.{entry.name}")
                    path = Path(entry.name)
                    pending.append(lambda make=make, path=path: into.append((path, make())))  # type: ignore[misc]

        try:
            rule.reject = [(Path(path), message) for path, message in row.get("reject", {}).items()]
            rule.rename = [(Path(old), Path(new)) for old, new in row.get("rename", {}).items()]
            rule.drop, rule.discard = paths("drop"), paths("discard")
            templates("default", "body", rule.default)
            templates("set", "body", rule.set)
            templates("each", "item", rule.each)
            for path, table in row.get("values", {}).items():
                if table not in unit.tables:
                    unit.problem(f"unknown table `{table}`{did_you_mean(table, unit.tables)}", node.line)
                else:
                    rule.values.append((Path(path), unit.tables[table]))
        except ValueError as error:
            unit.problem(str(error), node.line)
        if "when" in row:
            when = self.module.add_expression(str(row["when"]), node.line, "body", f"{label}.when")
            pending.append(lambda: setattr(rule, "when", when()))
        if "call" in row:
            if len(unit.functions.get(row["call"], ())) != 1:
                unit.problem(
                    f"`call` needs a function of one parameter{did_you_mean(row['call'], unit.functions)}", node.line
                )
            else:
                function = self.module.function(row["call"])
                pending.append(lambda: setattr(rule, "call", function()))
        return rule

    def for_model(self, format_name: str, model: str) -> ModelDialect:
        """The rows that match an upstream model, cascaded."""
        key = (format_name, model)
        if key not in self._cache:
            rules = {
                part: [rule for rule in rows if rule.matches(model)]
                for part, rows in self._rules.get(format_name, {}).items()
            }
            profile = dict(self._profiles.get(format_name, {}))
            for rule in rules.get("request", []):
                profile |= rule.profile
            active = {part: [rule for rule in rules.get(part, []) if rule.patches] for part in _PATCHED}
            self._cache[key] = ModelDialect(profile, self._wire[format_name], active)
        return self._cache[key]
