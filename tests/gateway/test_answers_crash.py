"""`kill -9` while answers are made in the background: what is told of them afterwards is true."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from nexeon.data import data_path
from nexeon.store.records import Account, ApiKey
from nexeon.store.secrets import digest, last4, new_secret
from nexeon.store.tinydb_engine import TinyStore
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
SECONDS = PATIENCE
QUICK = """
import runpy
from nexeon.gateway.server import serve
serve.LAST_CALLS = 5.0
runpy.run_module("nexeon.cli", run_name="__main__")
"""
"""The program, with less time at its end for what is under way."""


class Served:
    """The real program on one store folder, started again and again."""

    def __init__(self, folder: Path, secret: str) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        self.client = httpx.Client(headers={"authorization": f"Bearer {secret}"}, timeout=PATIENCE)

    def start(self, program: str = QUICK) -> None:
        files = [str(data_path("gateway.yaml")), str(self.folder / "store.yaml")]
        command = ["serve", "--sandbox", "--port", "0", "-c", files[0], "-c", files[1]]
        with (self.folder / "errors.txt").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, *command],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(3)]
        assert lines[2].startswith("curl"), (self.folder / "errors.txt").read_text()
        url = httpx.URL(next(word for word in lines[2].split() if word.startswith("http")))
        self.client.base_url = url.copy_with(path="/v1")

    def end(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=SECONDS)

    def ask(self, text: str, **more: Any) -> dict[str, Any]:
        answer = self.client.post("/responses", json={"model": "gpt-5", "input": text, **more})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def look(self, id: str) -> dict[str, Any]:
        answer = self.client.get(f"/responses/{id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def prepared(tmp_path: Path) -> tuple[Path, str]:
    secret = new_secret()
    (tmp_path / "store.yaml").write_text(yaml.safe_dump({"store": {"url": f"tinydb:{tmp_path / 'store'}"}}))
    store = await TinyStore.open(tmp_path / "store")
    await store.add(Account("acc_1", "acme", 0.0))
    await store.add(ApiKey("key_1", "acc_1", "k", 0.0, digest(secret), last4(secret)))
    await store.post("acc_1", "grant", 10**12)
    await store.close()
    return tmp_path, secret


@pytest.fixture
def served(prepared: tuple[Path, str]) -> Iterator[Served]:
    made = Served(*prepared)
    made.start()
    yield made
    made.end()
    made.client.close()


def test_killed(served: Served) -> None:
    done = served.ask("Kept")
    late = served.ask("[[first-byte 30s]] Late", background=True)
    soon = served.ask("Soon", background=True)
    deadline = time.monotonic() + SECONDS
    while served.look(soon["id"])["status"] != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert served.look(late["id"])["status"] == "in_progress"
    served.end()
    served.start()
    assert served.look(done["id"]) == done
    assert served.look(soon["id"])["status"] == "completed"
    lost = served.look(late["id"])
    assert lost["status"] == "failed"
    assert "stopped" in lost["error"]["message"]
    assert served.look(late["id"]) == lost
    more = served.ask("And on", previous_response_id=soon["id"])
    assert more["output"][-1]["content"][0]["text"] == "Echo: And on"


def test_stopped(served: Served) -> None:
    """A graceful end waits a little, then tells the truth as well."""
    late = served.ask("[[first-byte 60s]] Late", background=True)
    soon = served.ask("[[first-byte 300ms]] Soon", background=True)
    served.end(signal.SIGTERM)
    served.start()
    assert served.look(late["id"])["status"] == "failed"
    assert served.look(soon["id"])["status"] == "completed"
