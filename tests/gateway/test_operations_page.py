"""`docs/operations.md` names only measures, commands and settings that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
from conftest import Gate

from nexeon.cli import _VERBS, main
from nexeon.data import data_path

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


async def test_every_measure_exists(gate: Gate) -> None:
    families = set(re.findall(r"^# TYPE (\S+) ", (await gate.client.get("/metrics")).text, re.MULTILINE))
    named = set(re.findall(r"\b(?:nexeon|process)_[a-z_]+\b", PAGE))
    assert len(named) > 20
    # told only where limits are shared through a server
    assert named - families <= {"nexeon_limits_shared"}


def test_every_command_exists() -> None:
    named = set(re.findall(r"`nexeon ([a-z-]+)|^    nexeon ([a-z-]+)", PAGE, re.MULTILINE))
    assert {one or other for one, other in named} <= set(_VERBS)


def test_every_command_takes_what_is_given() -> None:
    """Its group's operation and its options, as far as they are written out."""
    spans = re.findall(r"`nexeon ([^`]+)`|^    nexeon ([^\n#]+)", PAGE, re.MULTILINE)
    seen = 0
    for one, other in spans:
        command: click.Command = main
        for word in (one or other).split():
            if isinstance(command, click.Group) and word in command.list_commands(click.Context(command)):
                found = command.get_command(click.Context(command), word)
                assert found is not None
                command = found
            elif word.startswith("-"):
                options = {
                    name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
                }
                assert word in options, f"`nexeon {one or other}`: {command.name} has no {word}"
                seen += 1
        assert not isinstance(command, click.Group) or "…" in (one or other), one or other
    assert seen > 8


def test_every_setting_exists() -> None:
    schema = json.loads(data_path("schemas").joinpath("gateway.schema.json").read_bytes())

    def keys(node: dict[str, object]) -> dict[str, object]:
        reference = node.get("$ref")
        if isinstance(reference, str):
            node = schema["$defs"][reference.rpartition("/")[2]]
        found = node.get("properties")
        return found if isinstance(found, dict) else {}

    sections = keys(schema)
    for section, name in re.findall(r"`([a-z_]+)\.([a-z_]+)`", PAGE):
        if section in sections:
            assert name in keys(sections[section]), f"{section}.{name}"  # type: ignore[arg-type]
