"""The command line is complete over the admin service, explains itself, and looks right on terminals and in pipes."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from nexeon.admin.http import OPERATIONS
from nexeon.cli import main
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
PAGING = {"after"}
OTHERWISE = {
    # from stdin, never on the command line
    ("provider_keys.add", "secret"),
    # --models and --from
    ("explain", "model"),
    ("explain", "format"),
    # --response and --stream
    ("explain", "events"),
    # the files of -c, without their secrets
    ("diff", "configuration"),
    ("diff", "salt"),
}

ON_A_SCREEN = "playground."
"""Composes and reads requests for a form; on a command line a request is a file, and curl sends it."""


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(main)):
        command = group.get_command(click.Context(main), name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


EVERY = dict(commands())
LEAVES = {path: command for path, command in EVERY.items() if not isinstance(command, click.Group)}


@pytest.mark.parametrize("method", [each for each in OPERATIONS if not each.startswith(ON_A_SCREEN)])
def test_every_operation_is_a_command_with_every_parameter(method: str) -> None:
    group, _, verb = method.rpartition(".")
    name = (group or verb).replace("_", "-")
    command = LEAVES.get((name, verb)) or LEAVES.get((name,))
    assert command is not None, f"no command for {method}"
    taken = {parameter.name for parameter in command.params}
    wanted = {each for each in OPERATIONS[method].parameters if (method, each) not in OTHERWISE} - PAGING
    assert wanted <= taken


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_an_example_that_is_right(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    lines = [line.strip() for line in (command.help or "").splitlines()]
    examples = [line for line in lines if line.startswith(" ".join(("nexeon", *path)))]
    assert examples, "no example"
    for example in examples:
        words = shlex.split(example)
        end = next((at for at, word in enumerate(words) if word in ("|", "<", ">")), len(words))
        arguments = [word for word in words[1 + len(path) : end] if not word.endswith(".json")]
        if "nexeon explain" not in example:
            command.make_context(" ".join(path), arguments, parent=click.Context(main))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_what_prints_data_prints_it_for_scripts(path: tuple[str, ...]) -> None:
    if path[0] not in ("serve", "tui", "completion"):
        assert "json" in {parameter.name for parameter in LEAVES[path].params}


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["colours", "NO_COLOR", "dumb"])
def test_a_terminal_gets_colours_and_a_pipe_never(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "gateway.yaml").write_text(json.dumps({"store": {"url": f"tinydb:{tmp_path / 'store'}"}}))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm", **variables}
    command = [sys.executable, "-m", "nexeon.cli"]
    made = subprocess.run(
        [*command, "accounts", "create", "--name", "acme"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
    )
    subprocess.run(
        [*command, "accounts", "disable", made.stdout.decode().strip()],
        cwd=tmp_path, env=environment, capture_output=True, check=True,
    )  # fmt: skip
    piped = subprocess.run(
        [*command, "accounts", "list"], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    assert b"\x1b" not in piped.stdout
    master, slave = pty.openpty()
    with subprocess.Popen([*command, "accounts", "list"], cwd=tmp_path, env=environment, stdout=slave) as process:
        os.close(slave)
        shown = io.BytesIO()
        while select.select([master], [], [], PATIENCE)[0]:
            try:
                shown.write(os.read(master, 4096))
            except OSError:
                break
        assert process.wait(PATIENCE) == 0
    os.close(master)
    assert (b"\x1b[31m" in shown.getvalue()) is not bool(variables)
    assert b"acme" in shown.getvalue()
