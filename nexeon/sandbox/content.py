"""What to answer: from a format-neutral `Ask` to a format-neutral `Plan`. Nothing here knows a wire format.

Tokens are counted by rules of our own: the same text has the same count everywhere, and a text of ten tokens here has
no more than about ten in any provider's tokenizer.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from json import JSONDecoder
from os import urandom
from typing import Any

import orjson

from nexeon.errors import RequestError
from nexeon.sandbox.directives import Directives, parse
from nexeon.sandbox.examples import NoExample, example

ANY_OBJECT: dict[str, Any] = {}
"""The output schema of a request for JSON that names no schema."""

_TOKEN = re.compile(r"\s?[A-Za-z0-9_]{1,5}|\s?[^A-Za-z0-9_\s]|\s")
_PHRASE = re.compile(r"\bcall\s+the\s+tools?\b[\s:]*", re.IGNORECASE)
_NAME = re.compile(r"""[\s"'`*“‘«]*([^\s"'`*,;!?()“”‘’«»]+)["'`*”’»]*""")
_SEPARATOR = re.compile(r"\s*(?:,\s*(?:and\s+)?|and\s+|&\s*)", re.IGNORECASE)
_WORDS = ("The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", ".")
_THOUGHT = ("Read", "ing", " the", " last", " turn", ".")
_REFUSAL = ("I", " can", "not", " help", " with", " that", ".")
_FREE = 'example "text"\nin two lines'
_MOST_TEXT = 10
_JSON_PIECE = 8
_numbers = count(1)
_start = urandom(8).hex()


@dataclass(slots=True)
class Ask:
    """What a request says, as far as the answer depends on it. Each wire format's `read` makes one."""

    model: str
    stream: bool
    input_tokens: int
    text: str = ""
    """The last user text, directives included."""
    last: str = "user"
    """Who spoke last: `user`, `tool` (a tool's result) or `model`."""
    result: str = ""
    """The last tool result's text, where `last` is `tool`."""
    instructions: str = ""
    """What the system says, in formats whose providers get an output schema in words."""
    images: int = 0
    tools: dict[str, Any] = field(default_factory=dict)
    """The tools that may be called now: name to JSON schema (None where it has none)."""
    custom: frozenset[str] = frozenset()
    """Those among them that take free text rather than arguments."""
    must_call: bool = False
    parallel: bool = True
    schema: Any = None
    """The JSON schema of the answer; None for plain text."""
    reasoning: bool = False
    limit: int | None = None
    """The most output tokens, reasoning included."""
    stops: Sequence[str] = ()
    usage_in_stream: bool = True
    """Whether the stream tells the usage, in formats that leave it to the request."""
    array: bool = False
    """Whether the stream is one JSON array rather than server-sent events."""
    shown: bool = True
    """Whether the reasoning's text is shown."""
    sealed: bool = True
    """Whether the reasoning's seal is given."""
    logprobs: bool = False
    """Whether each token's probability is told, in formats that do."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the answer repeats of the request, in formats that do."""
    provider: str = ""
    """The first segment of the request's path."""


@dataclass(slots=True)
class Call:
    """One tool call; `arguments` is JSON text, or free text of a `custom` tool; `pieces` the same in the fragments of a
    stream."""

    id: str
    name: str
    arguments: str
    pieces: list[str]
    custom: bool = False


@dataclass(slots=True)
class Plan:
    """The answer. Texts are lists of tokens; counts are tokens, `output_tokens` with the reasoning's."""

    id: str
    directives: Directives
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning: list[str]
    text: list[str]
    calls: list[Call]
    finish: str
    """`stop`, `length`, `calls`, `refusal` or `stop_sequence`. A refusal's words are in `text`."""
    stop_sequence: str | None
    seal: str
    """An opaque text that seals the reasoning (signature, encrypted content), valid base64."""


def make_plan(ask: Ask) -> Plan:
    """Decides the answer. Raises `RequestError` (400) for a wrong directive and a schema that accepts nothing."""
    directives, prompt = parse(ask.text) if ask.last == "user" else parse("")
    digest = _digest(f"{_start}{next(_numbers)}")  # answers are the same for the same request, their ids are not
    reasoning = _reasoning(ask, directives)
    refused = directives.refuse
    names = [] if refused or directives.tokens is not None else _called(ask, prompt)
    calls = [_call(f"{digest[:20]}{n:04x}", name, ask) for n, name in enumerate(names)]
    text = [] if calls else _text(ask, directives, prompt)
    text, stop_sequence = _stopped(text, ask.stops) if ask.stops and not refused else (text, None)
    finish = "calls" if calls else "refusal" if refused else "stop_sequence" if stop_sequence is not None else "stop"

    limit = ask.limit if ask.limit is not None and ask.limit > 0 else None
    if limit is not None and not calls and len(reasoning) + len(text) > limit:
        reasoning = reasoning[:limit]
        text = text[: limit - len(reasoning)]
        finish, stop_sequence = "length", None
    output = len(reasoning) + len(text) + sum(len(call.pieces) + 2 for call in calls)
    # A call is never cut off, so that its arguments stay valid: only its count keeps to the limit.
    output = max(1, output if limit is None else min(output, limit))
    cached = min(directives.cached, ask.input_tokens - 1)
    return Plan(
        id=digest,
        directives=directives,
        input_tokens=ask.input_tokens,
        output_tokens=output,
        reasoning_tokens=min(len(reasoning), output),
        cached_tokens=cached,
        cache_write_tokens=min(directives.cache_write, ask.input_tokens - 1 - cached),
        reasoning=reasoning,
        text=text,
        calls=calls,
        finish=finish,
        stop_sequence=stop_sequence,
        seal=_seal("".join(reasoning)) if reasoning else "",
    )


def text_tokens(length: int) -> int:
    """The tokens of an input text of that many characters."""
    return (length + 3) // 4


def tokens_of(text: str) -> list[str]:
    """The text in tokens: no more than five letters or digits, or one other character, with a leading space."""
    return _TOKEN.findall(text)


def _reasoning(ask: Ask, directives: Directives) -> list[str]:
    if directives.think is not None:
        return [_WORDS[n % len(_WORDS)] for n in range(directives.think)]
    return list(_THOUGHT) if ask.reasoning else []


def _called(ask: Ask, prompt: str) -> list[str]:
    """The tools to call, in order."""
    if ask.last != "user" or not ask.tools:
        return []
    names: list[str] = []
    for phrase in _PHRASE.finditer(prompt):
        listed = _listed(prompt, phrase.end(), ask.tools)
        names.extend(name for name in listed if name not in names or len(listed) > 1)
    if not names and ask.must_call:
        names = [next(iter(ask.tools))]
    return names if ask.parallel else names[:1]


def _listed(prompt: str, place: int, tools: dict[str, Any]) -> list[str]:
    """The offered names that a list such as `a, b and c` holds, up to the first word that is none."""
    names: list[str] = []
    while match := _NAME.match(prompt, place):
        name = _offered(match[1], tools)
        if name is None:
            break
        names.append(name)
        separator = _SEPARATOR.match(prompt, match.end())
        if separator is None:
            break
        place = separator.end()
    return names


def _offered(word: str, tools: dict[str, Any]) -> str | None:
    for candidate in (word, word.rstrip(".:-")):
        if candidate in tools:
            return candidate
        folded = candidate.casefold()
        for name in tools:
            if name.casefold() == folded:
                return name
    return None


def _call(identity: str, name: str, ask: Ask) -> Call:
    if name in ask.custom:
        return Call(identity, name, _FREE, _pieces(_FREE), custom=True)
    try:
        arguments = example(ask.tools[name], as_object=True)
    except NoExample as problem:
        message = f"Tool {name!r}: no arguments fit its schema: {problem}"
        raise RequestError(400, "invalid_request", message, param="tools") from None
    return Call(identity, name, arguments, _pieces(arguments))


def _pieces(text: str) -> list[str]:
    return [text[n : n + _JSON_PIECE] for n in range(0, len(text), _JSON_PIECE)]


def _text(ask: Ask, directives: Directives, prompt: str) -> list[str]:
    if directives.refuse:
        return list(_REFUSAL)
    if directives.tokens is not None:
        return [_WORDS[n % len(_WORDS)] for n in range(directives.tokens)]
    schema = ask.schema or _schema_in_words(ask.instructions) or ask.schema
    if schema is not None:
        return _pieces(_json(schema, prompt))
    head = tokens_of("Tool said:" if ask.last == "tool" else "Echo:")
    tail = tokens_of(f" +{ask.images} image") if ask.images else []
    source = ask.result if ask.last == "tool" else prompt
    echo = tokens_of(" " + " ".join(source[:200].split()))
    return [*head, *echo[: _MOST_TEXT - len(head) - len(tail)], *tail] if source.strip() else [*head, " OK", *tail]


def _schema_in_words(instructions: str) -> Any:
    """The schema that instructions ask the answer to fit, as a model would read them; None where they name none."""
    _, named, rest = instructions.rpartition("JSON Schema:")
    start = rest.find("{")
    if not named or start < 0:
        return None
    try:
        return JSONDecoder().raw_decode(rest, start)[0]
    except ValueError:
        return None


def _json(schema: Any, prompt: str) -> str:
    if schema == ANY_OBJECT:
        return orjson.dumps({"echo": " ".join(prompt[:40].split())}).decode()
    try:
        return example(schema)
    except NoExample as problem:
        message = f"The output schema: no instance fits it: {problem}"
        raise RequestError(400, "invalid_request", message, param="schema") from None


def _stopped(pieces: list[str], stops: Sequence[str]) -> tuple[list[str], str | None]:
    """The pieces before the first stop sequence in their text, and that sequence."""
    text = "".join(pieces)
    place, found = min(((text.find(stop), stop) for stop in stops if stop and stop in text), default=(-1, None))
    if found is None:
        return pieces, None
    kept: list[str] = []
    for piece in pieces:
        if place <= 0:
            break
        kept.append(piece[:place])
        place -= len(piece)
    return kept, found


def _digest(source: str) -> str:
    return blake2b(source.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=256)
def _seal(reasoning: str) -> str:
    return b64encode(b"sandbox-seal:" + blake2b(reasoning.encode(), digest_size=48).digest()).decode()
