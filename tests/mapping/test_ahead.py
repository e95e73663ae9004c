"""Compiling before a start, by other processes: each file once, whoever begins too and whoever is killed meanwhile."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from nexeon.mapping import ahead, cache, load_library
from nexeon.mapping.compiler import TemplateCompiler

FOLDER = Path(__file__).parents[1] / "gateway" / "fixtures" / "mappings"
NAME, TEXT = "formats/x.yaml", "format: x"
HOLDS = f"""
import sys
from nexeon.mapping import cache
with cache.alone({NAME!r}, {TEXT!r}):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEXEON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ahead, "_SMALL", 0)
    return tmp_path / "cache"


def no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def function(self: TemplateCompiler, identifier: str, *arguments: object) -> object:
        raise AssertionError(identifier)

    monkeypatch.setattr(TemplateCompiler, "function", function)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_start_compiles_nothing_itself(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kept:
        monkeypatch.setenv("NEXEON_CACHE", "")
    made = await ahead.at_start([FOLDER])
    assert len(made) == 3
    no_compiling(monkeypatch)
    with cache.given(made):
        assert load_library([FOLDER]).formats
        assert await ahead.at_start([FOLDER]) == {}
    if kept:
        assert await ahead.at_start([FOLDER]) == {}
        assert load_library([FOLDER]).formats


async def test_what_is_small_takes_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_SMALL", 1_000_000)
    monkeypatch.setattr(sys, "executable", "/no/python")
    assert await ahead.at_start([FOLDER]) == {}


async def test_a_file_that_cannot_be_compiled_is_left_to_whoever_loads_it(tmp_path: Path) -> None:
    bad = tmp_path / "own" / "formats"
    bad.mkdir(parents=True)
    (bad / "talk.yaml").write_text("format: talk\nrequest: {decode: '{{ nothing_known }}'}\n")
    (bad / "binary.yaml").write_bytes(b"\xff\xfe")
    assert await ahead.at_start([tmp_path / "own", tmp_path / "nowhere"]) == {}


def test_one_at_a_time_until_it_ends_or_is_killed(folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "in\n"
        with (folder / cache._LOCK).open("ab") as lock, pytest.raises(BlockingIOError):
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(cache._key(NAME, TEXT)[:12], 16))
        with cache.alone(NAME, TEXT + " # another"):
            pass
    finally:
        process.kill()
        process.communicate()
    with cache.alone(NAME, TEXT):
        pass
