"""Mappings that change while requests are answered: compiled elsewhere, taken up, and gone when they are replaced."""

from __future__ import annotations

import gc
import logging
import shutil
import sys
import time
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import FIXTURES, settings

import nexeon.gateway.server.reload
import nexeon.gateway.services
from nexeon.config import load_config
from nexeon.errors import NotFound
from nexeon.gateway.gateway import Gateway
from nexeon.gateway.server.compiled import compile_folders
from nexeon.gateway.server.reload import Reloader
from nexeon.gateway.services import Services
from nexeon.mapping import cache, load_library
from nexeon.mapping.ahead import ahead, compile_files
from nexeon.mapping.compiler import TemplateCompiler
from nexeon.store import open_store
from nexeon.store.answers import Answer
from tests.patience import until


@dataclass
class Deployment:
    """A gateway that nobody asks, whose mapping files can be changed."""

    services: Services
    reloader: Reloader
    folder: Path

    def change(self, file: str, number: int) -> None:
        path = self.folder / file
        path.write_text(f"{path.read_text()}\n# {number}\n")

    def configure(self, **changes: Any) -> None:
        file = self.folder.parent / "gateway.yaml"
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))

    async def reload(self) -> str:
        outcome = (await self.reloader.reload("test")).outcome
        await until(lambda: not self.services.retired)
        return outcome


@pytest.fixture
async def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deployment]:
    monkeypatch.setattr(nexeon.gateway.services, "_LOOK", 0)
    folder = tmp_path / "mappings"
    shutil.copytree(FIXTURES / "mappings", folder)
    value: dict[str, Any] = {**settings("http://127.0.0.1:9"), "mappings": [str(folder)], "store": {"url": "memory:"}}
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(value))
    config = load_config([file], environ={})
    store = await open_store("memory:")
    services = Services(config, store)
    services.current = Gateway(config, compile_folders(config.mappings), services)
    await services.start()
    yield Deployment(services, Reloader(services, lambda: load_config([file], environ={}), config), folder)
    await services.stop()
    await store.close()


def no_compiling(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is compiled in this process from here on."""
    found: list[str] = []
    compiles = TemplateCompiler.function

    def function(self: TemplateCompiler, identifier: str, *arguments: Any) -> Any:
        found.append(identifier)
        return compiles(self, identifier, *arguments)

    monkeypatch.setattr(TemplateCompiler, "function", function)
    return found


@pytest.mark.parametrize("where", ["a folder", "no folder", "a folder that cannot be written"])
async def test_another_process_compiles(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    folders = {"a folder": str(tmp_path / "cache"), "no folder": ""}
    monkeypatch.setenv("NEXEON_CACHE", folders.get(where, str(tmp_path / "file" / "cache")))
    compiled = no_compiling(monkeypatch)
    before = deployment.services.current.library
    deployment.change("formats/talk.yaml", 1)
    deployment.change("dialects/plain.yaml", 1)
    assert await deployment.reload() == "applied"
    after = deployment.services.current.library
    assert after.formats["talk"] is not before.formats["talk"]
    assert after.dialects["plain"] is not before.dialects["plain"]
    assert after.formats["note"] is before.formats["note"]
    assert compiled == []


async def test_the_configuration_alone_is_taken_up_with_the_mappings_there_are(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NEXEON_CACHE", "")
    monkeypatch.setattr(sys, "executable", str(deployment.folder / "no-python"))
    compiled = no_compiling(monkeypatch)
    before = deployment.services.current
    deployment.configure(retry={"rounds": 1})
    assert await deployment.reload() == "applied"
    assert deployment.services.current is not before
    assert deployment.services.current.made is before.made
    assert compiled == []
    assert "no process can be started" not in caplog.text


@pytest.mark.parametrize("broken", ["program", "time"])
async def test_without_another_process_it_is_compiled_here(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    monkeypatch.setenv("NEXEON_CACHE", "")
    if broken == "program":
        monkeypatch.setattr(sys, "executable", str(deployment.folder / "no-python"))
    else:

        async def late(folders: Any, files: Any) -> Any:
            return await ahead(folders, files, longest=0)

        monkeypatch.setattr(nexeon.gateway.server.reload, "ahead", late)
    compiled = no_compiling(monkeypatch)
    deployment.change("formats/talk.yaml", 1)
    with caplog.at_level(logging.WARNING):
        assert await deployment.reload() == "applied"
    assert "mappings are compiled beside the requests" in caplog.text
    assert compiled


async def test_a_file_that_cannot_be_compiled_is_told_as_ever(deployment: Deployment) -> None:
    good = (deployment.folder / "formats" / "talk.yaml").read_text()
    (deployment.folder / "formats" / "talk.yaml").write_text(good.replace("request:", "request: {{", 1))
    assert await deployment.reload() == "refused"
    assert deployment.reloader.last is not None
    assert any("formats/talk.yaml" in problem for problem in deployment.reloader.last.problems)
    (deployment.folder / "formats" / "talk.yaml").write_text(good)
    assert await deployment.reload() == "unchanged"


async def test_nothing_of_fifty_mappings_stays_behind(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(folders: Any, files: Any) -> dict[str, bytes]:
        return {}

    monkeypatch.setattr(nexeon.gateway.server.reload, "ahead", nobody)
    monkeypatch.setenv("NEXEON_CACHE", str(tmp_path / "cache"))
    files = [deployment.folder / name for name in ("formats/talk.yaml", "dialects/plain.yaml", "catalogs/plain.yaml")]
    texts = [file.read_text() for file in files]
    kept: list[weakref.ref[Any]] = []
    for number in range(50):
        current = deployment.services.current
        form, dialect = current.library.formats["talk"], current.library.dialects["plain"]
        decode = form.transforms["request", "decode"].function
        kept += [weakref.ref(one) for one in (current, form, dialect, decode, current.router)]
        del current, form, dialect, decode
        for file, text in zip(files, texts, strict=True):
            file.write_text(f"{text}\n# {number % 2}\n")
        assert await deployment.reload() == "applied"
    gc.collect()
    assert [place for place, ref in enumerate(kept) if ref() is not None] == []


async def test_what_a_dialect_rests_on_makes_it_anew(deployment: Deployment) -> None:
    file = deployment.folder / "formats" / "talk.yaml"
    before = deployment.services.current.library.dialects["plain"]
    tree = yaml.safe_load(file.read_text())
    tree["wire"]["request"]["max_tokens"] = ["most"]
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    assert await deployment.reload() == "applied"
    after = deployment.services.current.library.dialects["plain"]
    assert after is not before
    assert ["limit" in str(each.for_model("talk", "x").wire.request.max_tokens) for each in (before, after)] == [
        True,
        False,
    ]
    assert [len(each.for_model("talk", "strict-up").rules["request"]) for each in (before, after)] == [
        len(before.for_model("talk", "strict-up").rules["request"])
    ] * 2


async def test_how_much_of_answers_is_kept_is_taken_up(deployment: Deployment) -> None:
    answers = deployment.services.answers
    answer = Answer("acc", "one", time.time(), "completed", None, b"x" * 2000, b"[]", b"[]")
    assert answers.put(answer)
    deployment.configure(responses={"max_bytes": 1024, "ttl": "1h"})
    assert await deployment.reload() == "applied"
    assert deployment.reloader.last is not None
    assert deployment.reloader.last.restart == []
    assert not answers.put(replace(answer, id="two"))
    assert answers.put(replace(answer, id="three", created=time.time() - 7200, body=b"{}"))
    await answers.flush()
    await answers.sweep()
    assert (await answers.get("acc", "one")).body == answer.body
    with pytest.raises(NotFound):
        await answers.get("acc", "three")  # an hour and it is over


def test_code_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXEON_CACHE", "")
    folder = FIXTURES / "mappings"
    made = compile_files([folder], [str(folder / "formats" / "talk.yaml")])
    assert len(made) == 1
    compiled = no_compiling(monkeypatch)
    with cache.given(made):
        load_library([folder])
    assert compiled.count("t_request_decode") == 1  # of the other format
    load_library([folder])
    assert compiled.count("t_request_decode") == 3
