"""`nexeon serve --sandbox` as a process: what it prints works as pasted, and a signal ends it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nexeon.cli import main
from nexeon.cli.sandbox import curl
from nexeon.config import load_config
from nexeon.data import data_path
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "store.yaml"
    path.write_text("store: {url: 'tinydb:./store'}\n")
    return path


def start(config: Path) -> subprocess.Popen[str]:
    command = ["serve", "--sandbox", "--port", "0", "-c", str(data_path("gateway.yaml")), "-c", str(config)]
    return subprocess.Popen(
        [sys.executable, "-m", "nexeon.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture
def printed(config: Path) -> Iterator[list[str]]:
    """The three lines that a sandbox prints once it is ready."""
    process = start(config)
    assert process.stdout is not None
    lines = [process.stdout.readline().rstrip("\n") for _ in range(3)]
    yield lines
    process.send_signal(signal.SIGTERM)
    rest, words = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest) == (0, ""), words


def post(line: str) -> Any:
    """Does what the curl line says."""
    words = shlex.split(line)
    assert words[:2] == ["curl", "-sS"]
    headers = dict(words[place + 1].split(": ", 1) for place, word in enumerate(words) if word == "-H")
    request = urllib.request.Request(words[2], words[words.index("-d") + 1].encode(), headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def test_what_is_printed_works_as_pasted_and_is_charged(printed: list[str], config: Path) -> None:
    account, key, line = printed
    assert account.startswith("account acc_")
    assert key.startswith("key nex-sk-")
    assert key.removeprefix("key ") in line
    answer = post(line)
    assert answer["choices"][0]["message"]["content"]
    arguments = ["credits", "ledger", account.removeprefix("account "), "-c", str(config), "--json"]
    entries = json.loads(CliRunner().invoke(main, arguments).stdout)
    assert [entry["kind"] for entry in entries] == ["charge", "grant"]
    assert entries[0]["usage"]["output"] > 0
    own = CliRunner().invoke(main, ["accounts", "create", "--name", "acme", "-c", str(config), "--json"])
    assert json.loads(own.stdout)["id"].startswith("acc_")


def test_a_guest_is_gone_and_what_was_made_beside_it_stays(config: Path) -> None:
    process = start(config)
    assert process.stdout is not None
    process.stdout.readline()
    CliRunner().invoke(main, ["accounts", "create", "--name", "acme", "-c", str(config)], catch_exceptions=False)
    process.kill()
    process.communicate()
    listed = CliRunner().invoke(main, ["accounts", "list", "-c", str(config), "--json"])
    assert [account["name"] for account in json.loads(listed.stdout)] == ["acme"]


def test_without_a_model_the_line_lists_models(config: Path) -> None:
    assert (
        curl(load_config([config]), "http://h:1", "k") == "curl -sS http://h:1/v1/models -H 'Authorization: Bearer k'"
    )
