"""`nexeon serve --sandbox` with two accounts, asked over HTTP as the API's description says.

Every test that takes `upstream` runs once for each provider in each format that the provider speaks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.patience import PATIENCE

from .served import ROOT, Served

UPSTREAMS = ROOT / "tests" / "sdk" / "upstreams.yaml"
MODELS: dict[str, Any] = yaml.safe_load(UPSTREAMS.read_text())["models"]


@dataclass(frozen=True)
class Api:
    """A running gateway; `client` and `other` have keys of two accounts, `reader` a key of the first one that only
    reads."""

    client: httpx.Client
    other: httpx.Client
    reader: httpx.Client


@dataclass(frozen=True)
class Upstream:
    """Where the answer comes from: `model` is PROVIDER:FORMAT."""

    model: str

    @property
    def provider(self) -> str:
        return self.model.partition(":")[0]

    @property
    def format(self) -> str:
        return self.model.partition(":")[2]


@pytest.fixture(params=[Upstream(model) for model in MODELS], ids=lambda upstream: upstream.model)
def upstream(request: pytest.FixtureRequest) -> Upstream:
    chosen: Upstream = request.param
    return chosen


def _made(served: Served, *command: str) -> dict[str, Any]:
    """What a command of the program says that it made."""
    program = [sys.executable, "-m", "nexeon.cli", *command, "--json", *served.files]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder: Path = tmp_path_factory.mktemp("responses")
    (folder / "own.yaml").write_text(yaml.safe_dump({"store": {"url": f"tinydb:{folder / 'store'}"}}))
    served = Served(folder, [UPSTREAMS, folder / "own.yaml"])
    served.start()
    clients = []
    try:
        for name in ("one", "two"):
            account = _made(served, "accounts", "create", "--name", name)["id"]
            _made(served, "credits", "add", account, "1000")
            for scopes in ((), ("--scopes", "read")) if name == "one" else ((),):
                key = _made(served, "keys", "create", "--account", account, "--name", f"key of {name}", *scopes)["key"]
                headers = {"authorization": f"Bearer {key}"}
                clients.append(httpx.Client(base_url=served.url, headers=headers, timeout=PATIENCE))
        yield Api(clients[0], clients[2], clients[1])
    finally:
        for client in clients:
            client.close()
        served.end()
