"""`nexeon diff` and `nexeon reload` beside a gateway in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nexeon.data import data_path
from tests.patience import PATIENCE

MODEL = {
    "owned_by": "tests", "created": 1, "price": {"input": 1, "output": 2},
    "targets": [{"provider": "up", "model": "m"}],
}  # fmt: skip


def settings(folder: Path) -> dict[str, Any]:
    format = sorted((data_path("mappings") / "formats").glob("*.yaml"))[0].stem
    auth = {"header": "authorization", "value": "Bearer {{ key }}"}
    return {
        "server": {"port": 0, "watch": False},
        "store": {"url": f"tinydb:{folder / 'data'}"},
        "providers": {
            "up": {"base_url": "http://127.0.0.1:9", "formats": [format], "auth": auth, "api_key": "planted-secret-1"}
        },
        "models": {"one": MODEL},
    }


def nexeon(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nexeon.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings(tmp_path)))
    with (tmp_path / "stderr").open("w+") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "nexeon.cli", "serve", "-c", str(file)], stderr=told, text=True
        )
        try:
            said(tmp_path, "nexeon answers at", process)
            yield process, file
        finally:
            process.kill()
            process.wait()


def said(folder: Path, words: str, process: subprocess.Popen[str]) -> str:
    """Waits until the words stand on its stderr; all that stands there."""
    deadline = time.monotonic() + PATIENCE
    while words not in (text := (folder / "stderr").read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.02)
    return text


def test_a_change_is_shown_then_taken_up(server: tuple[subprocess.Popen[str], Path], tmp_path: Path) -> None:
    process, file = server
    new = settings(tmp_path)
    new["models"]["two"] = MODEL
    new["models"]["one"] = {**MODEL, "price": {"input": 3, "output": 2}}
    new["providers"]["up"]["api_key"] = "planted-secret-2"
    new["server"]["port"] = 4
    new["lines"] = {"format": "json"}
    other = tmp_path / "new.yaml"
    other.write_text(yaml.safe_dump(new))
    told = nexeon("diff", "-c", other)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert "~ models.one.price.input: 1 → 3" in lines
    assert "+ models.two" in lines
    why = "the address is bound before the first request"
    assert f"~ server.port: 0 → 4   (takes a new start: {why})" in lines
    assert any(line.startswith("~ providers.up.api_key: secret ") for line in lines)
    assert "planted-secret" not in told.stdout + told.stderr
    changes = json.loads(nexeon("diff", "-c", other, "--json").stdout)
    told_of = {"path": "server.port", "kind": "changed", "old": 0, "new": 4, "restart": True, "reason": why}
    assert told_of in changes
    assert len(changes) == 5
    assert json.loads(nexeon("diff", "-c", other, "--against", file, "--json").stdout)[0]["path"] == "server.port"
    assert nexeon("diff", "-c", file).stdout == "nothing would change\n"

    file.write_text(other.read_text())
    reloaded = nexeon("reload", "-c", file)
    assert (reloaded.returncode, reloaded.stdout.splitlines()[0]) == (0, "applied")
    assert nexeon("diff", "-c", other).stdout == "nothing would change\n"

    file.write_text("server: {prot: 1}")
    process.send_signal(signal.SIGHUP)
    assert "prot" in said(tmp_path, "was not changed", process)
    refusals = [line for line in (tmp_path / "stderr").read_text().splitlines() if "was not changed" in line]
    assert json.loads(refusals[0])["level"] == "error"  # in the format that was taken up
    refused = nexeon("reload", "-c", other)
    assert refused.returncode == 1
    assert "did you mean `port`" in refused.stderr
    status = nexeon("status", "-c", other, "--json")
    assert json.loads(status.stdout)["reload"]["outcome"] == "refused"
    assert "planted-secret" not in (tmp_path / "stderr").read_text()


def test_a_gateway_that_runs_is_reached_by_a_file_that_cannot_be_used(
    server: tuple[subprocess.Popen[str], Path], tmp_path: Path
) -> None:
    """To disable a key, or to learn what is wrong, in the midst of an edit or from a shell without its variables."""
    _, file = server
    good = settings(tmp_path)
    good["providers"]["up"]["api_key"] = "${NEXEON_NOWHERE_SET}"
    file.write_text(yaml.safe_dump({**good, "nonsense": 1}))
    why = ("nonsense", "NEXEON_NOWHERE_SET", "the gateway that runs is asked")
    for words in (("status",), ("accounts", "create", "--name", "a"), ("keys", "list")):
        told = nexeon(*words, "-c", file)
        assert told.returncode == 0, told.stderr
        assert [word for word in why if word not in told.stderr] == []
    assert json.loads(nexeon("accounts", "list", "--json", "-c", file).stdout)[0]["name"] == "a"
    reloaded = nexeon("reload", "-c", file)
    assert reloaded.returncode == 1
    assert "nonsense" in reloaded.stderr
    assert "not taken up" in nexeon("status", "-c", file).stderr
    for broken in ("store: {url: 'nothing:x'}", "models: [", f"store: {{url: 'tinydb:{tmp_path / 'other'}'}}\nx: 1"):
        file.write_text(broken)
        told = nexeon("status", "-c", file)
        assert (told.returncode, told.stdout) == (1, "")
        assert "is asked" not in told.stderr
    assert not (tmp_path / "other").exists()


def test_without_a_gateway_there_is_nothing_to_reload(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings(tmp_path)))
    told = nexeon("reload", "-c", file)
    assert (told.returncode, "no gateway is running" in told.stderr) == (1, True)
    assert os.listdir(tmp_path / "data")


def test_what_is_configured_is_shown_without_the_store(tmp_path: Path) -> None:
    file, other = tmp_path / "gateway.yaml", tmp_path / "other.yaml"
    config = settings(tmp_path) | {"store": {"url": "postgresql://nexeon:planted-secret@127.0.0.1:1/none"}}
    file.write_text(yaml.safe_dump(config))
    other.write_text(yaml.safe_dump(config | {"store": {"url": f"tinydb:{tmp_path / 'never'}"}}))
    for each in (file, other):
        shown = nexeon("configuration", "show", "-c", each)
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)["store"]["engine"] in ("postgresql", "tinydb")
        assert "planted-secret" not in shown.stdout
        refused = nexeon("diff", "-c", each)
        assert (refused.returncode, "no gateway is running" in refused.stderr, "--against" in refused.stderr) == (
            1,
            True,
            True,
        )
    told = nexeon("diff", "-c", other, "--against", file)
    assert (told.returncode, "store.url" in told.stdout) == (0, True)
    assert not (tmp_path / "never").exists()
