"""What the hot path takes: instructions under callgrind, for fixed input. `python -m tests.bench.guard [--update]`.

A count does not depend on the machine's load, and hardly on the machine, so a change that makes a request dearer is
seen in CI. It depends on Python and the libraries: without valgrind, or with other versions than the committed figures
have, nothing is compared.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

FIGURES: Final = Path(__file__).with_name("guard.json")
MARGIN: Final = 0.1
WARM, ROUNDS = 10, 30


def request_json() -> Callable[[], None]:
    """A request of 20 messages with tools, prepared for a provider of another format."""
    from types import SimpleNamespace

    from nexeon.gateway.target import Preparer
    from tests.bench.requests import with_tools
    from tests.gateway.relays import exchange_of

    exchange, plan = exchange_of("openai.chat", "anthropic.messages", with_tools)
    lease = SimpleNamespace(account="default")

    def run() -> None:
        Preparer(exchange, "0123456789abcdef01234567").prepare(plan, lease)  # type: ignore[arg-type]

    return run


def answer_json() -> Callable[[], None]:
    """An answer, decoded and said in another format."""
    from nexeon.mapping import new_context
    from nexeon.wire.json import dumps, loads
    from tests.bench.answers import message
    from tests.gateway.relays import deployed

    _, library = deployed()
    decode, encode = library.format("anthropic.messages"), library.format("openai.chat")
    raw = dumps(message())

    def run() -> None:
        ctx = new_context(format="anthropic.messages", token="0" * 24, now=1)
        client = new_context(format="openai.chat", token="0" * 24, now=1, model="m", body={})
        dumps(encode.encode_response(decode.decode_response(loads(raw), ctx), client))

    return run


def stream(client: str, upstream: str, name: str) -> Callable[[], None]:
    """203 events in reads of 4 kB, through the relay."""
    from nexeon.wire.sse import SSEParser
    from tests.bench.answers import events_of
    from tests.gateway.relays import relay

    raw = b"".join(events_of(name))
    pieces = [raw[start : start + 4096] for start in range(0, len(raw), 4096)]

    def run() -> None:
        one, parser = relay(client, upstream), SSEParser()
        for piece in pieces:
            one.take(piece, parser)

    return run


def events_alone() -> Callable[[], None]:
    """Ten events that nothing can be left out of: each is decoded and encoded."""
    from nexeon.wire.sse import SSEParser
    from tests.bench.answers import events_of
    from tests.gateway.relays import relay

    raw = b"".join(events_of("chat/completions")[:10])

    def run() -> None:
        one = relay("anthropic.messages", "openai.chat")
        one._lane = None
        one.take(raw, SSEParser())

    return run


CASES: Final[dict[str, Callable[[], Callable[[], None]]]] = {
    "request of 20 messages with tools, chat to messages": request_json,
    "answer, messages to chat": answer_json,
    "stream of 203 events, chat to chat": lambda: stream("openai.chat", "openai.chat", "chat/completions"),
    "stream of 206 events, messages to chat": lambda: stream("openai.chat", "anthropic.messages", "messages"),
    "10 events one by one, chat to messages": events_alone,
}


def play() -> None:
    """All cases in a process under callgrind, each between two marks."""
    for make in CASES.values():
        run = make()
        for _ in range(WARM):
            run()
        gc.collect()
        gc.disable()
        os.getppid()
        for _ in range(ROUNDS):
            run()
        os.getppid()
        gc.enable()


def count() -> dict[str, int]:
    """Instructions of one round, by case."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={folder}/out"]
        command += [sys.executable, "-m", "tests.bench.guard", "--play"]
        environ = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        dumps = [Path(folder) / f"out.{2 * number}" for number in range(1, len(CASES) + 1)]
        if done.returncode or not all(dump.exists() for dump in dumps):
            raise SystemExit(f"callgrind failed: {done.stderr[-2000:]}")
        totals = [re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE) for dump in dumps]
        return {case: int(total[1]) // ROUNDS for case, total in zip(CASES, totals, strict=True) if total}


def versions() -> dict[str, str]:
    """What a count depends on, but for the code."""
    return {
        "python": sys.version.split()[0],
        "compiler": sys.version.rpartition("[")[2].rstrip("]"),
        "orjson": version("orjson"),
    }


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--play"]:
        play()
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is missing: nothing is counted (`apt-get install valgrind`)")
        return 0
    known: dict[str, Any] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    if "--update" not in arguments and known.get("versions") != versions():
        print(f"the figures are of {known.get('versions')}, this is {versions()}: nothing is compared")
        return 0
    counted = count()
    if "--update" in arguments:
        FIGURES.write_text(json.dumps({"versions": versions(), "instructions": counted}, indent=2) + "\n")
        return 0
    return compared(counted, known["instructions"])


def compared(counted: dict[str, int], known: dict[str, int]) -> int:
    """1 where a case takes more than its figure and the margin; what takes less is told, so that the figure follows."""
    worse = 0
    for case, now in counted.items():
        change = now / known[case] - 1
        verdict = "too much" if change > MARGIN else "less: update the figure" if change < -MARGIN else "as it was"
        worse |= change > MARGIN
        print(f"{case:<55}{now / 1e6:>9.3f} M instructions {change:>+7.1%}  {verdict}")
    if worse:
        print(
            "the hot path became dearer; if it has to be, `python -m tests.bench.guard --update` takes the new figures"
        )
    return int(worse)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
