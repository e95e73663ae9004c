"""Compiled mappings on disk: used when they are the very ones, and never missed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nexeon.errors import MappingError
from nexeon.mapping import cache, module
from nexeon.mapping.context import new_context
from nexeon.mapping.module import Module
from nexeon.mapping.source import Map, parse

TEXT = 'define:\n  double(x): "{{ x.n * 2 }}"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEXEON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def doubled(text: str = TEXT) -> object:
    source = parse(text, "double.yaml")
    assert isinstance(source.root, Map)
    made = Module(source)
    function = made.function("double")
    made.finish()
    return function()({"n": 4}, new_context())


def compiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    original = module.TemplateCompiler.function

    def function(self: object, identifier: str, *rest: object) -> object:
        seen.append(identifier)
        return original(self, identifier, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module.TemplateCompiler, "function", function)
    return seen


def test_the_second_start_compiles_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doubled() == 8
    assert len(list(folder.iterdir())) == 1
    seen = compiles(monkeypatch)
    assert doubled() == 8
    assert seen == []
    assert doubled(TEXT.replace("* 2", "* 3")) == 12
    assert seen == ["f_double"]


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\0" * 4000])
def test_a_damaged_file_is_as_none(folder: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled()
    (file,) = folder.iterdir()
    file.write_bytes(damage or file.read_bytes()[:-1])
    seen = compiles(monkeypatch)
    assert doubled() == 8
    assert seen == ["f_double"]
    seen.clear()
    assert doubled() == 8
    assert seen == []


def test_another_compiler_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    doubled()
    monkeypatch.setattr(cache, "_compiler", lambda: b"another version")
    seen = compiles(monkeypatch)
    assert doubled() == 8
    assert seen == ["f_double"]


def test_a_folder_that_others_can_write_is_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled()
    folder.chmod(0o777)
    seen = compiles(monkeypatch)
    assert doubled() == 8
    assert seen == ["f_double"]


def test_a_folder_of_the_system_is_trusted_and_anothers_is_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled()
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    seen = compiles(monkeypatch)
    assert doubled() == 8
    assert seen == ([] if folder.stat().st_uid == 0 else ["f_double"])


def test_nothing_is_kept_where_it_is_not_wanted_or_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXEON_CACHE", "")
    assert doubled() == 8
    (tmp_path / "file").touch()
    monkeypatch.setenv("NEXEON_CACHE", os.fspath(tmp_path / "file" / "below"))
    assert doubled() == 8
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_oldest_files_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST", 3)
    for factor in range(5):
        doubled(TEXT.replace("* 2", f"* {factor}"))
    assert len(list(folder.iterdir())) == 3


def test_a_file_with_problems_is_refused_however_often(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(MappingError, match="unknown"):
            doubled(TEXT.replace("x.n", "unknown_name"))
    assert not folder.exists() or not list(folder.iterdir())
