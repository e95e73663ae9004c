"""What the hot path takes: instructions under callgrind, for fixed input. `python -m tests.bench.guard [--update]`.

A count does not depend on the machine's load, and hardly on the machine, so a change that makes a request dearer is
seen in CI. It depends on Python and the libraries: without valgrind, or with other versions than the committed figures
have, nothing is compared.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

FIGURES: Final = Path(__file__).with_name("guard.json")
MARGIN: Final = 0.1
WARM, ROUNDS = 10, 30
_NO_CONTROL: Final = 3


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


def events_as_they_come(client: str, upstream: str, name: str) -> Callable[[], None]:
    """The same events, each by itself: those that are like the one before are taken at once."""
    from nexeon.wire.sse import SSEParser
    from tests.bench.answers import events_of
    from tests.gateway.relays import relay

    events = events_of(name)

    def run() -> None:
        one, parser = relay(client, upstream), SSEParser()
        for event in events:
            if not one.take_steady(event, parser)[0]:
                one.take(event, parser)

    return run


def tools(model: str) -> dict[str, Any]:
    """20 messages with tools."""
    from tests.bench.requests import with_tools

    return with_tools(model)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def whole(client: str, upstream: str, make: Callable[[str], dict[str, Any]] | None = None) -> Callable[[], None]:
    """A request all the way through the app, with a key, limits, credit, the ledger and measures, but for sockets:
    the provider's answer is there at once."""
    import httpx

    from nexeon.gateway.server.app import create_app, services_of
    from nexeon.store import Account, ApiKey, open_store
    from nexeon.store.secrets import digest, new_secret
    from nexeon.wire.json import dumps
    from tests.bench import deployment
    from tests.bench.answers import ANSWERS
    from tests.gateway.relays import deployed

    config, library = deployed()
    answer = next(dumps(body) for path, body in ANSWERS.items() if path in deployment.path(upstream, "bench"))
    secret = new_secret()
    loop = _loop()
    store = loop.run_until_complete(open_store("memory:"))
    loop.run_until_complete(store.add(Account("acc_1", "bench", 0.0)))
    loop.run_until_complete(store.add(ApiKey("key_1", "acc_1", "bench", 0.0, digest(secret), "0000", rpm=10**6)))
    loop.run_until_complete(store.post("acc_1", "grant", 10**15))

    def answered(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "application/json"}, content=answer)

    app = create_app(config, library, store, transport=lambda provider: httpx.MockTransport(answered))
    services = services_of(app)
    services.current.open()  # but for what goes on in the background, which no two counts would have alike
    loop.run_until_complete(services.pool.open())
    name = deployment.model("json", upstream)
    body = dumps((make or (lambda name: deployment.body(client, name)))(name))
    path = deployment.path(client, name)
    headers = [(b"authorization", b"Bearer " + secret.encode()), (b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "extensions": {}, "state": {},
    }  # fmt: skip

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200, message

    async def one() -> None:
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if parts:
                return parts.pop()
            return await loop.create_future()  # type: ignore[no-any-return]  # a client that does not leave

        await app(scope, receive, send)  # type: ignore[arg-type]
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    return lambda: loop.run_until_complete(one())


CASES: Final[dict[str, Callable[[], Callable[[], None]]]] = {
    "request of 20 messages with tools, chat to messages": request_json,
    "answer, messages to chat": answer_json,
    "whole request, chat to chat": lambda: whole("openai.chat", "openai.chat"),
    "whole request, messages to chat": lambda: whole("anthropic.messages", "openai.chat"),
    "whole request of 20 messages with tools, chat to chat": lambda: whole("openai.chat", "openai.chat", tools),
    "stream of 203 events, chat to chat": lambda: stream("openai.chat", "openai.chat", "chat/completions"),
    "stream of 208 events, responses to responses": lambda: stream("openai.responses", "openai.responses", "responses"),
    "stream of 206 events, messages to chat": lambda: stream("openai.chat", "anthropic.messages", "messages"),
    "10 events one by one, chat to messages": events_alone,
    "203 events as they come, chat to chat": lambda: events_as_they_come(
        "openai.chat", "openai.chat", "chat/completions"
    ),
}


def play(*, later: bool) -> None:
    """All cases in a process under callgrind, each between two marks. `later`: it does not look at instructions yet."""
    from nexeon.gateway.server import direct

    direct._SOON = 3600.0  # type: ignore[misc]  # here every request takes long, and no client has to be watched
    runs = [make() for make in CASES.values()]
    for run in runs:
        for _ in range(WARM):
            run()
    gc.collect()
    gc.disable()
    if later:
        _count_from_now()
    for run in runs:
        os.getppid()
        for _ in range(ROUNDS):
            run()
        os.getppid()


def _count_from_now() -> None:
    """What came before would take minutes, and is not counted. Not waited for in a system call, from which callgrind
    could be woken only by who may trace processes."""
    control = subprocess.Popen(["callgrind_control", "--instr=on", str(os.getpid())], stdout=subprocess.DEVNULL)
    while control.poll() is None:
        sum(range(1000))
    if control.returncode:
        raise SystemExit(_NO_CONTROL)


def count(*, later: bool = True) -> dict[str, int]:
    """Instructions of one round, by case."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--instr-atstart={'no' if later else 'yes'}"]
        command += ["--dump-before=getppid", f"--callgrind-out-file={folder}/out"]
        command += [sys.executable, "-m", "tests.bench.guard", "--play", "later" if later else "all"]
        environ = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if later and done.returncode == _NO_CONTROL:
            return count(later=False)
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
        play(later=arguments[1:] == ["later"])
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
