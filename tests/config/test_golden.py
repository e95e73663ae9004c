"""The exact text of every error: `golden/NAME.yaml` gives `golden/NAME.txt`."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexeon.config import load_config
from nexeon.errors import ConfigError

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))


@pytest.mark.parametrize("name", CASES)
def test_error_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    with pytest.raises(ConfigError) as raised:
        load_config(
            [Path(f"{name}.yaml")],
            environ={"DRAIN": "soon-hunter2"},
            formats=["wire.chat", "wire.answers"],
            dialects=["anthropic", "plain"],
        )
    text = str(raised.value).replace(str(GOLDEN), "GOLDEN") + "\n"
    assert text == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert "hunter2" not in text


def test_problems_carry_file_line_and_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    with pytest.raises(ConfigError) as raised:
        load_config([Path("typos.yaml")], environ={})
    [problem] = [problem for problem in raised.value.problems if "antropic" in problem.message]
    assert problem.message == "unknown provider `antropic` in models.x.targets[0]: did you mean `anthropic`?"
    assert (problem.file, problem.line, problem.path) == ("typos.yaml", 18, "models.x.targets[0]")
