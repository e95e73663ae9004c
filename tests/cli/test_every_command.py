"""What holds for every command: an example that parses, JSON for scripts, secrets that no list of processes shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nexeon.cli import main

PROGRAMS = {"serve", "tui", "completion"}
"""What they print is no data."""


def walk(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if words:
        yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, (*words, name))


COMMANDS = dict(walk(main))
LEAVES = {words: command for words, command in COMMANDS.items() if not isinstance(command, click.Group)}


def examples(command: click.Command) -> list[str]:
    """What is typed after `nexeon` in each line that could be; of a pipe, our part."""
    parts = (part for line in (command.help or "").splitlines() for part in line.split(" | "))
    typed = (re.match(r"\s*(?:[A-Z_]+=\S* )*nexeon (.*?)(?: [#<>(&].*)?$", part) for part in parts)
    return [each[1].strip() for each in typed if each]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_examples_that_parse(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*words, "--help"], prog_name="nexeon")
    assert result.exit_code == 0
    typed = [each for each in examples(COMMANDS[words]) if tuple(each.split()[: len(words)]) == words]
    assert typed, f"no example of `nexeon {' '.join(words)}` in its help"
    for each in typed:
        assert f"nexeon {each}" in result.output, "a line must not be wrapped"
        command: click.Command = main
        rest = shlex.split(each)
        while isinstance(command, click.Group) and rest:
            child = command.get_command(click.Context(command), rest[0])
            assert child is not None, rest
            command, rest = child, rest[1:]
        for name in (word for word in rest if not word.startswith("-") and "." in word):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("{}")
        command.make_context("nexeon", rest).close()


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_scripts_get_json_and_give_no_secret_away(words: tuple[str, ...]) -> None:
    command = LEAVES[words]
    options = {name for each in command.params if isinstance(each, click.Option) for name in each.opts}
    assert ("--json" in options) == (words[0] not in PROGRAMS)
    for each in command.params:
        secret = each.name is not None and re.search("secret|password", each.name)
        assert not secret or each.type is click.BOOL or not isinstance(each, click.Argument), "secrets come by stdin"
        if each.name == "token":
            assert "NEXEON_ADMIN_TOKEN" in (getattr(each, "help", "") or "")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*words, "--no-such-option"], prog_name="nexeon")
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: nexeon ")
    assert result.stdout == ""
