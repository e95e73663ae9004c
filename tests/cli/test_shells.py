"""What a shell offers when Tab is pressed, in the shells themselves."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from nexeon.cli import main
from nexeon.cli.shells import SHELLS
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
PROGRAM = "from nexeon.cli import main; main(prog_name='nexeon')"
NAMES = ("comma,name", "it'squoted", "col:on", "dol$lar", "with space")
TYPED = {
    "accounts show comma": "accounts show comma,name",
    "accounts show it": r"accounts show it\'squoted",
    "accounts show dol": r"accounts show dol\$lar",
    "accounts show col:": "accounts show col:on",
    "accounts show wit": r"accounts show with\ space",
    r"accounts show with\ s": r"accounts show with\ space",
    'accounts show "wi': 'accounts show "with space"',
    "keys create --account=wi": r"keys create --account=with\ space",
    "check --config=mi": "check --config=mine.yaml",
    "check -c mi": "check -c mine.yaml",
    "provider-k": "provider-keys",
}
"""What is typed after the name of the program, and what stands there after a Tab."""


def complete(*words: str, cwd: Path) -> set[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_NEXEON_COMPLETE": "fish_complete",
        "NEXEON_LINE": " ".join(("nexeon", *words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    return {line.split("\t")[1] for line in done.stdout.splitlines() if line}


def test_commands_options_and_names_of_the_configuration_are_completed(tmp_path: Path) -> None:
    provider = {"base_url": "http://127.0.0.1:9", "formats": ["openai.chat"], "dialect": "openai"}
    auth = {"auth": {"header": "Authorization", "value": "Bearer {{ key }}"}}
    (tmp_path / "gateway.yaml").write_text(json.dumps({"providers": {"openai": {**provider, **auth}}}))
    assert complete("provider-", cwd=tmp_path) == {"provider-keys"}
    assert "rotate" in complete("keys", "r", cwd=tmp_path)
    assert "--overlap" in complete("keys", "rotate", "--o", cwd=tmp_path)
    assert complete("provider-keys", "add", "op", cwd=tmp_path) == {"openai"}
    assert complete("keys", "create", "--period", "", cwd=tmp_path) == {"day", "week", "month"}


def test_names_of_accounts_and_keys_are_completed_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(json.dumps({"store": {"url": "tinydb:./store"}}))
    assert complete("accounts", "show", "", cwd=tmp_path) == set()
    assert not (tmp_path / "store").exists()
    given = ["-c", str(tmp_path / "gateway.yaml")]
    for words in (
        ["accounts", "create", "--name", "acme"],
        ["accounts", "create", "--name", "blue harbour"],
        ["keys", "create", "--account", "acme", "--name", "laptop"],
        ["keys", "create", "--account", "acme", "--name", "lamp"],
    ):
        assert CliRunner().invoke(main, [*words, *given], prog_name="nexeon").exit_code == 0
    found = complete("credits", "add", "", cwd=tmp_path)
    assert found == {"acme", "blue harbour"}
    assert complete("keys", "rotate", "la", cwd=tmp_path) == {"laptop", "lamp"}
    assert complete("usage", "--account", "ac", cwd=tmp_path) > {"acme"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that has some names, and the program."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "gateway.yaml").write_text(json.dumps({"store": {"url": f"tinydb:{folder / 'store'}"}}))
    (folder / "mine.yaml").write_text("{}")
    for name in NAMES:
        words = ["accounts", "create", "--name", name, "-c", str(folder / "gateway.yaml")]
        assert CliRunner().invoke(main, words, prog_name="nexeon").exit_code == 0
    program = folder / "bin" / "nexeon"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    return folder


def variables(home: Path) -> dict[str, str]:
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(home), "ZDOTDIR": str(home), "TERM": "xterm", "LANG": "C.UTF-8"}


class Shell:
    """One that keys are typed into."""

    def __init__(self, command: list[str], home: Path) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=home, env=variables(home), start_new_session=True
        )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def see(self, wanted: str) -> None:
        """Reads until that is there."""
        seen = ""
        while wanted not in seen:
            ready, _, _ = select.select([self._master], [], [], PATIENCE)
            assert ready, f"{wanted!r} was not seen, but {seen!r}"
            seen = re.sub(
                r"\x1b\[[\d;?]*[A-Za-z]|\x1b[=>]|\r|\x07|.\x08",
                "",
                seen + os.read(self._master, 4096).decode(errors="replace"),
            )

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_what_is_typed(home: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    options = ["--noprofile", "--norc"] if shell == "bash" else ["-f"]
    opened = Shell([shell, *options, "-i"], home)
    try:
        if shell == "zsh":
            opened.type("autoload -Uz compinit; compinit -u; unsetopt zle_bracketed_paste; PS1='> '\n")
        opened.type(f'eval "$(nexeon completion {shell})"; echo rea""dy\n')
        opened.see("ready")
        for typed, wanted in TYPED.items():
            opened.type(f"nexeon {typed}\t")
            opened.see(f"nexeon {wanted} ")
            opened.type("\x15")
    finally:
        opened.end()


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish")
def test_fish_completes_what_is_typed(home: Path) -> None:
    for typed, wanted in TYPED.items():
        asked = f"nexeon completion fish | source; complete -C {json.dumps('nexeon ' + typed)}"
        asked = asked.replace("$", "\\$")
        done = subprocess.run(
            ["fish", "--no-config", "-c", asked],
            capture_output=True, text=True, cwd=home, env=variables(home), timeout=PATIENCE, check=True,
        )  # fmt: skip
        plain = wanted.replace("\\", "").replace('"', "")
        # what it puts there, it quotes by itself
        assert plain.endswith(done.stdout.split("\t")[0].strip().splitlines()[0]), typed


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_its_script(shell: str) -> None:
    printed = CliRunner().invoke(main, ["completion", shell], prog_name="nexeon")
    assert printed.exit_code == 0
    assert f"_NEXEON_COMPLETE={shell}_complete" in printed.stdout


def test_descriptions_are_whole(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_NEXEON_COMPLETE": "zsh_complete",
        "NEXEON_LINE": "nexeon di",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert done.stdout.strip() == "plain\tdiff\tShow what another configuration would change."
