"""Gateways as real processes on the offline upstream, clients that note what they were told, and a ledger beside it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from nexeon.data import data_path
from nexeon.store.protocol import Store
from nexeon.store.records import Account, ApiKey, Balance, LedgerEntry
from nexeon.store.secrets import digest, last4, new_secret

ROOT = Path(__file__).parents[2]
MODEL = "m"
PATH = "/v1/chat/completions"


def one_model(store: str) -> dict[str, Any]:
    """What of a configuration is laid over the shipped one: a store, and a model."""
    provider = next(iter(yaml.safe_load(data_path("gateway.yaml").read_text())["providers"]))
    model = {"owned_by": "tests", "created": 1, "price": {"input": 1, "output": 2}, "max_output_tokens": 100}
    targets = [{"provider": provider, "model": MODEL}]
    return {"store": {"url": store}, "models": {MODEL: {**model, "targets": targets}}}


async def open_account(store: Store, credit: int, **key: Any) -> str:
    """The secret of a key whose account has credit. Closes the store."""
    secret = new_secret()
    await store.add(Account("acc_1", "acme", 0.0))
    await store.add(ApiKey("key_1", "acc_1", "k", 0.0, digest(secret), last4(secret), **key))
    await store.post("acc_1", "grant", credit)
    await store.close()
    return secret


async def serve(
    config: Path, errors: Path, *, environ: Mapping[str, str] | None = None, preexec: Callable[[], None] | None = None
) -> tuple[subprocess.Popen[str], str]:
    """A gateway that answers, and its URL; what it says is appended to `errors`."""
    command = [sys.executable, "-m", "nexeon.cli", "serve", "--sandbox", "--port", "0"]
    with errors.open("a") as log:
        process = subprocess.Popen(  # noqa: ASYNC220
            [*command, "-c", str(data_path("gateway.yaml")), "-c", str(config)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
            preexec_fn=preexec,
        )
    assert process.stdout is not None
    lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(3)]
    assert lines[2].startswith("curl"), await asyncio.to_thread(errors.read_text)
    url = next(word for word in lines[2].split() if word.startswith("http"))
    return process, url[: url.index("/", len("http://"))]


@dataclass
class Heard:
    """`answered` are requests whose whole answer was heard, `begun` those of which at least the beginning was."""

    answered: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    async def ask(self, http: httpx.AsyncClient, url: str, secret: str, chance: random.Random) -> bool:
        """One request, in one of both modes; False where the gateway left in the midst of it."""
        stream = chance.random() < 0.4
        body = {"model": MODEL, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {secret}"}
        try:
            async with http.stream("POST", url + PATH, json=body, headers=headers) as answer:
                self.statuses[answer.status_code] += 1
                number = answer.headers["x-request-id"]
                if answer.status_code == 200:
                    self.begun.add(number)
                text = (await answer.aread()).decode()
        except httpx.HTTPError:
            return False
        if answer.status_code == 200:
            if "data: [DONE]" in text if stream else "choices" in json.loads(text):
                self.answered.add(number)
        else:
            self.codes[json.loads(text)["error"]["code"]] += 1
            await asyncio.sleep(0.02)
        return True

    def agree(self, entries: Sequence[LedgerEntry], balance: Balance, credit: int) -> int:
        """What was told is in the ledger (oldest first) once; every nano-dollar is where it belongs. The charges."""
        charges = Counter(entry.request for entry in entries if entry.kind == "charge")
        told = {entry.request: entry for entry in entries if entry.kind == "charge"}
        assert set(charges.values()) <= {1}, "charged twice"
        assert self.answered <= set(charges), "answered, and not charged"
        assert not any(told[number].estimated for number in self.answered)
        assert all(told[number].amount < 0 and told[number].price and told[number].usage for number in self.answered)
        assert not [entry for entry in entries if entry.kind == "shortfall"]
        assert sum(entry.amount for entry in entries) == balance.balance >= 0
        assert (balance.reserved, entries[0].amount) == (0, credit)
        assert [entry.previous for entry in entries] == ["", *(entry.id for entry in entries[:-1])]
        running = 0
        for entry in entries:
            running += entry.amount
            assert entry.balance == running
        return len(charges)
