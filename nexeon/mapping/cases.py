"""Mapping cases: given / expect data under `mappings/tests/`, run by `nexeon check` and by pytest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexeon.errors import MappingError, MappingFailure, Problem, RequestError
from nexeon.mapping.context import new_context
from nexeon.mapping.dialect import Dialect
from nexeon.mapping.format import Format
from nexeon.mapping.library import Library
from nexeon.mapping.missing import MISSING
from nexeon.mapping.ordering import StreamEncoder
from nexeon.mapping.schemas import Schemas, Validator, plain_json
from nexeon.mapping.scope import did_you_mean
from nexeon.mapping.source import Map, Seq, plain, read
from nexeon.mapping.stream import StreamDecoder
from nexeon.wire.json import dumps

_KEYS = ("case", "format", "dialect", "model", "do", "ctx", "given", "expect", "fails", "dropped", "invalid")
_DIRECTIONS = tuple(
    f"{section}.{way}" for section in ("request", "response", "stream", "error") for way in ("decode", "encode")
)
_PATCHES = ("request", "response", "event", "error")


@dataclass(slots=True)
class Case:
    """One case and where it stands."""

    file: str
    line: int
    data: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.data.get("case", ""))


def read_cases(folder: Path) -> Iterator[Case | Problem]:
    """Every case below a folder, and a problem for what is none."""
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).as_posix()
        try:
            source = read(path, f"tests/{name}")
        except MappingError as error:
            yield from error.problems
            continue
        yield from source.problems
        if not isinstance(source.root, Seq):
            yield Problem("a case file is a list of cases", source.name, 1)
            continue
        for item in source.root.items:
            data = plain(item)
            if not isinstance(item, Map) or not {"case", "format", "do", "given"} <= set(data):
                yield Problem("a case needs `case`, `format`, `do` and `given`", source.name, item.line)
            elif unknown := [key for key in data if key not in _KEYS]:
                yield Problem(f"unknown key `{unknown[0]}`", source.name, item.line)
            elif ("expect" in data) == ("fails" in data):
                yield Problem("a case has either `expect` or `fails`", source.name, item.line)
            elif message := _misstated(data):
                yield Problem(message, source.name, item.line, str(data["case"]))
            else:
                yield Case(source.name, item.line, data)


def _misstated(data: dict[str, Any]) -> str:
    """What is wrong with the parts of a case, or nothing."""
    known = _PATCHES if "dialect" in data else _DIRECTIONS
    if data["do"] not in known:
        listed = did_you_mean(str(data["do"]), known) or f": known are {', '.join(f'`{name}`' for name in known)}"
        return f"unknown `do: {data['do']}` {'with' if 'dialect' in data else 'without'} a dialect{listed}"
    for key, kind, word in (("ctx", dict, "a map"), ("dropped", list, "a list")):
        if not isinstance(data.get(key, kind()), kind):
            return f"`{key}` must be {word}"
    given = data["given"]
    if data["do"].startswith("stream."):
        fits = isinstance(given, list) and all(isinstance(one, dict) for one in given)
        return "" if fits else f"`given` must be a list of {'events' if data['do'] == 'stream.decode' else 'pieces'}"
    return "" if isinstance(given, dict) or data["do"] in ("error.decode", "error") else "`given` must be a map"


def run_case(case: Case, library: Library, schemas: Schemas) -> Problem | None:
    """None where the case holds."""

    def problem(message: str) -> Problem:
        return Problem(message, case.file, case.line, case.name)

    data = case.data
    if data["format"] not in library.formats:
        return problem(f"unknown format `{data['format']}`")
    form = library.formats[data["format"]]
    facts = {
        "format": form.name,
        "token": "token",
        "now": 1700000000,
        "model": "model",
        "upstream_model": "model",
        **data.get("ctx", {}),
    }
    ctx = new_context(**facts)
    try:
        if "dialect" in data:
            if data["dialect"] not in library.dialects:
                return problem(f"unknown dialect `{data['dialect']}`")
            result = _run_dialect(library.dialects[data["dialect"]], data, ctx)
        else:
            result = _run_format(form, library, data, ctx)
        result = plain_json(result) if result is not MISSING else result
    except MappingFailure as error:
        found = f"{error.path}: {error.message}" if error.path else error.message
        return _compare_failure(found, data, problem)
    except RequestError as error:
        return _compare_failure(f"{error.param}: {error.message}" if error.param else error.message, data, problem)
    except (TypeError, AttributeError, LookupError, ValueError) as error:
        return problem(f"`given` is nothing that a mapping is given: {type(error).__name__}: {error}")
    if "fails" in data:
        return problem(f"should fail with `{data['fails']}`, gave {_short(result)}")
    if difference := _difference(data["expect"], result):
        return problem(difference)
    if "dropped" in data and ctx["dropped"] != data["dropped"]:
        return problem(f"dropped {_short(ctx['dropped'])}, expected {_short(data['dropped'])}")
    if "invalid" in data:
        return None
    return next((problem(text) for text in _invalid(data, result, schemas)), None)


def _run_format(form: Format, library: Library, data: dict[str, Any], ctx: dict[str, Any]) -> Any:
    section, _, direction = data["do"].partition(".")
    given = data["given"]
    if data["do"] == "stream.decode":
        decoder = StreamDecoder(form, ctx)
        return [piece for event in given for piece in decoder.feed(event)] + decoder.end()
    if data["do"] == "stream.encode":
        encoder = StreamEncoder(form, ctx)
        return [event for piece in _clean(given, form) for event in encoder.encode([piece])]
    result = form.transforms[section, direction](given, ctx)
    if data["do"] == "request.encode":
        client = library.formats.get(ctx.get("client", form.name), form)
        dropped, refused = form.lost(given, client)
        ctx["dropped"] += dropped
        if refused:
            raise RequestError(400, "invalid_request", refused[0][1], param=refused[0][0])
    return result


def _clean(pieces: list[Any], form: Format) -> Iterator[dict[str, Any]]:
    """Pieces as a mapping gives them, through the tracker."""

    class _Pieces:
        """Stands in for a format whose events are pieces already."""

        @staticmethod
        def decode_event(piece: Any, _: Any) -> list[Any]:
            return [piece]

    decoder = StreamDecoder(_Pieces(), {})  # type: ignore[arg-type]  # it has the one method that is used
    for piece in pieces:
        yield from decoder.feed(piece)
    yield from decoder.end()


def _run_dialect(dialect: Dialect, data: dict[str, Any], ctx: dict[str, Any]) -> Any:
    rules = dialect.for_model(data["format"], str(data.get("model", "model")))
    ctx.setdefault("profile", rules.profile)
    return getattr(rules, data["do"])(data["given"], ctx)


def _compare_failure(found: str, data: dict[str, Any], problem: Any) -> Problem | None:
    if "fails" not in data:
        return problem(f"failed: {found}")  # type: ignore[no-any-return]
    return None if found == data["fails"] else problem(f"failed with `{found}`, expected `{data['fails']}`")


def _invalid(data: dict[str, Any], result: Any, schemas: Schemas) -> Iterator[str]:
    section, _, direction = data["do"].partition(".")
    many = section in ("stream", "event")
    if direction == "decode":
        validator: Validator | None = schemas.canonical("clean_piece" if many else section)
    else:
        validator = schemas.format(data["format"], "event" if many else section)
    if validator is None or (direction == "" and section != "request"):
        return
    for number, value in enumerate(result if many else [result]):
        if not validator.accepts(value) and (found := validator.explain(value)) is not None:
            path, message = found
            place = f"[{number}]" if many else ""
            yield f"the output does not fit {validator.name}: {place}{'.' if place and path else ''}{path}: {message}"


def _difference(expected: Any, found: Any, path: str = "") -> str | None:
    """The first place where two values differ; booleans are not numbers, the order of keys does not matter."""
    place = path or "the result"
    if found is MISSING:
        return f"{place} is missing, expected {_short(expected)}"
    if type(expected) is dict and type(found) is dict:
        for key in expected:
            inner = f"{path}.{key}" if path else str(key)
            if key not in found:
                return f"{inner} is missing, expected {_short(expected[key])}"
            if (difference := _difference(expected[key], found[key], inner)) is not None:
                return difference
        extra = [key for key in found if key not in expected]
        return (
            f"{path + '.' if path else ''}{extra[0]} should not be there: {_short(found[extra[0]])}" if extra else None
        )
    if type(expected) is list and type(found) is list:
        for number, (one, other) in enumerate(zip(expected, found, strict=False)):
            if (difference := _difference(one, other, f"{path}[{number}]")) is not None:
                return difference
        if len(expected) != len(found):
            longer = (expected if len(expected) > len(found) else found)[min(len(expected), len(found))]
            word = "missing" if len(found) < len(expected) else "too many"
            return f"{place} has {len(found)} items, expected {len(expected)}; the first {word}: {_short(longer)}"
        return None
    same = expected == found and (type(expected) is bool) == (type(found) is bool)
    return None if same else f"{place} is {_short(found)}, expected {_short(expected)}"


def _short(value: Any) -> str:
    text = repr(value) if value is MISSING else dumps(value).decode(errors="replace")
    return text if len(text) <= 300 else text[:297] + "…"
