"""The real programs: a gateway that answers offline, and load for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.patience import PATIENCE

COMMAND = [sys.executable, "-m", "nexeon.cli"]
REPOSITORY = Path(__file__).parents[2]


class Gateway:
    """`nexeon serve --sandbox` on a store in `folder`; `key` may do everything there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = folder / "own.yaml"
        own.write_text(f'store: {{url: "tinydb:{folder / "data"}"}}\n')
        self.files = ["-c", str(REPOSITORY / "gateway.yaml"), "-c", str(own)]
        self.url = self.key = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        command = [*COMMAND, "serve", "--sandbox", "--port", "0", *self.files]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if found := re.match(r"key (\S+)", line):
                self.key = found[1]
            if found := re.search(r"answers at (http://\S+)", line):
                self.url = found[1].rstrip(".")
                break
        assert self.url, "".join(said)
        self._drain = threading.Thread(target=self.process.stdout.read, daemon=True)
        self._drain.start()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self._drain.join(PATIENCE)
            assert self.process.stdout is not None
            self.process.stdout.close()

    def run(self, *words: str) -> str:
        """What a command prints, beside the gateway."""
        command = [*COMMAND, *words, *self.files]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=self.folder, timeout=PATIENCE
        ).stdout


@contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    running = Gateway(folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()


class Load:
    """Requests, one after another in each of some threads, until it is stopped; `statuses` are those that came."""

    def __init__(self, url: str, key: str, *, threads: int = 2, pause: float = 0.05) -> None:
        self.statuses: list[int] = []
        self._stopped = threading.Event()
        self._pause = pause
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE) as http:
            model = http.get("/v1/models").json()["data"][0]["id"]
        self._body: dict[str, Any] = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}
        self._threads = [threading.Thread(target=self._ask, args=(url, key), daemon=True) for _ in range(threads)]

    def _ask(self, url: str, key: str) -> None:
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE) as http:
            while not self._stopped.wait(self._pause):
                self.statuses.append(http.post("/v1/chat/completions", json=self._body).status_code)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)


def wait_for(check: Any, seconds: float, what: str) -> Any:
    """What `check` gives once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        if found := check():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} was not seen within {seconds:.0f} s")
        time.sleep(0.1)


def environment(**more: str) -> dict[str, str]:
    """Of a person's terminal."""
    dropped = ("NO_COLOR", "TEXTUAL_DRIVER", "NEXEON_ADMIN_TOKEN", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **more}
