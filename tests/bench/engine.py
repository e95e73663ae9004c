"""The mapping engine by itself: `python -m tests.bench.engine`. CPU time of decoding and encoding, JSON apart.

Beside it code written by hand for the same hub (`tests.bench.handwritten`), which must say the same, and llm-rosetta,
the nearest library, in an environment of its own (made at the first use, left out where it cannot be made). They take
turns, and each figure is the median of its turns.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from nexeon.mapping import Format, Library, load_library, new_context
from nexeon.wire.json import dumps, loads
from nexeon.wire.sse import SSEParser
from tests.bench import handwritten
from tests.bench.answers import events_of
from tests.bench.requests import with_tools

TURNS: Final = int(os.environ.get("BENCH_TURNS", "41"))
CALLS: Final = 100
CHAT, MESSAGES = "openai.chat", "anthropic.messages"
STREAMS: Final = {CHAT: "chat/completions", MESSAGES: "messages"}
Run = Callable[[], object]

ROSETTA = """
import json, sys, time
from llm_rosetta import AnthropicConverter, OpenAIChatConverter
body = json.loads(sys.stdin.readline())
decode, encode = OpenAIChatConverter().request_from_provider, AnthropicConverter().request_to_provider
for line in sys.stdin:
    began = time.process_time()
    for _ in range(int(line)):
        encode(decode(body))
    print(time.process_time() - began, flush=True)
"""


def context(format: Format) -> dict[str, Any]:
    facts = {"model": "m", "upstream_model": "m", "provider": "p", "account": "a", "body": {}, "path": {}}
    return new_context(format=format.name, token="0" * 24, now=1, profile={}, limits={}, **facts)


def spent(run: Run, calls: int = CALLS) -> float:
    """Seconds of CPU time a call."""
    gc.collect()
    began = time.process_time()
    for _ in range(calls):
        run()
    return (time.process_time() - began) / calls


def by_turns(runs: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each, in µs."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, run in runs.items():
            taken[name].append(run())
    return {name: statistics.median(found) * 1e6 for name, found in taken.items()}


@contextlib.contextmanager
def rosetta(body: dict[str, Any]) -> Iterator[Callable[[], float] | None]:
    """Seconds that llm-rosetta takes for the request; None where it cannot be installed."""
    named = os.environ.get("NEXEON_BENCH_LLM_ROSETTA")
    home = Path(named) if named else Path.home() / ".cache" / "nexeon-bench" / "llm-rosetta"
    python = home / "bin" / "python"
    try:
        if subprocess.run([python, "-c", "import llm_rosetta"], capture_output=True, check=False).returncode:
            raise FileNotFoundError
    except FileNotFoundError:
        print("once: installing llm-rosetta", file=sys.stderr, flush=True)
        commands = [
            [sys.executable, "-m", "venv", str(home)],
            [str(python), "-m", "pip", "install", "-q", "llm-rosetta"],
        ]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"without llm-rosetta: {done.stderr.strip()[-300:]}")
                yield None
                return
    with subprocess.Popen([python, "-c", ROSETTA], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        into, out = child.stdin, child.stdout
        print(json.dumps(body), file=into, flush=True)

        def run() -> float:
            calls = CALLS // 10
            print(calls, file=into, flush=True)
            return float(out.readline()) / calls

        yield run
        into.close()


def agree(library: Library) -> None:
    """That what is written by hand says the same, to the byte."""
    chat, messages = library.format(CHAT), library.format(MESSAGES)
    body = with_tools("m")
    hub = chat.decode_request(body, context(chat))
    assert dumps(handwritten.decode_chat(body, context(chat))) == dumps(hub)
    for target, encode in ((chat, handwritten.encode_chat), (messages, handwritten.encode_messages)):
        ctx = context(target)
        assert dumps(encode(hub, ctx)) == dumps(target.encode_request(hub, ctx)), target.name


def requests(library: Library) -> dict[str, float]:
    """Decoding in each format and encoding to each, and both by hand where that is written."""
    chat = library.format(CHAT)
    raw = dumps(with_tools("m"))
    body = loads(raw)  # as it comes from a client: its keys and words are no constants of this program
    hub = chat.decode_request(body, context(chat))
    runs: dict[str, Callable[[], float]] = {}

    def add(name: str, run: Run) -> None:
        run()
        runs[name] = lambda: spent(run)

    for format in library.formats.values():
        ctx = context(format)
        wire = body if format is chat else loads(dumps(format.encode_request(hub, ctx)))
        add(f"decode {format.name}", lambda f=format, w=wire, c=ctx: f.decode_request(w, c))  # type: ignore[misc]
        add(f"encode {format.name}", lambda f=format, c=ctx: f.encode_request(hub, c))  # type: ignore[misc]
    ctx = context(chat)
    add(f"decode {CHAT} by hand", lambda: handwritten.decode_chat(body, ctx))
    add(f"encode {CHAT} by hand", lambda: handwritten.encode_chat(hub, ctx))
    add(f"encode {MESSAGES} by hand", lambda: handwritten.encode_messages(hub, ctx))
    add("JSON read", lambda: loads(raw))
    add("JSON written", lambda: dumps(body))
    with rosetta(body) as run:
        if run is not None:
            run()
            runs["llm-rosetta, chat to Messages"] = run
        return by_turns(runs)


def streams(library: Library) -> dict[str, float]:
    """An event of text, decoded and encoded, and a whole stream's events in a row, by event."""
    runs: dict[str, Callable[[], float]] = {}
    delta = {"type": "delta", "index": 0, "ordinal": 0, "text": " the", "block": {"type": "text"}}
    for name, path in STREAMS.items():
        format = library.format(name)
        ctx = context(format)
        events = [loads(event.data) for event in SSEParser().feed(b"".join(events_of(path))) if event.data != b"[DONE]"]
        text = next(event for event in events[4:] if b"the" in orjson.dumps(event))

        def whole(format: Format = format, ctx: dict[str, Any] = ctx, events: list[Any] = events) -> None:
            for event in events:
                format.decode_event(event, ctx)

        runs[f"decode an event of {name}"] = lambda f=format, t=text, c=ctx: spent(lambda: f.decode_event(t, c), 1000)  # type: ignore[misc]
        count = len(events)
        runs[f"decode a stream of {name}, each of {count} events"] = lambda run=whole, n=count: spent(run, 5) / n  # type: ignore[misc]
    for format in library.formats.values():
        ctx = context(format)
        runs[f"encode an event of {format.name}"] = lambda f=format, c=ctx: spent(
            lambda: f.encode_piece(delta, c), 1000
        )  # type: ignore[misc]
    return by_turns(runs)


def main() -> None:
    from nexeon.data import data_path

    library = load_library([data_path("mappings")])
    agree(library)
    found = requests(library)
    print("a request of 20 messages with tools, µs of CPU")
    for name, taken in found.items():
        print(f"  {name:<44}{taken:>9.1f}")
    print("decode + encode, µs of CPU, and beside what is written by hand")
    for target in library.formats:
        both = found[f"decode {CHAT}"] + found[f"encode {target}"]
        hand = found.get(f"encode {target} by hand")
        beside = f"{both / (hand + found[f'decode {CHAT} by hand']):>8.2f} x by hand" if hand else ""
        far = found.get("llm-rosetta, chat to Messages")
        other = f"{far / both:>8.1f} x less than llm-rosetta" if far and target == MESSAGES else ""
        print(f"  {CHAT + ' to ' + target:<44}{both:>9.1f}{beside}{other}")
    print("events of streams, µs of CPU each")
    for name, taken in streams(library).items():
        print(f"  {name:<64}{taken:>7.2f}")


if __name__ == "__main__":
    main()
