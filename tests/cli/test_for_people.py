"""What commands say to people: what is wrong with what they typed, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nexeon.cli import main


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with a provider, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXEON_SECRET_KEY", raising=False)
    (tmp_path / "gateway.yaml").write_text(
        "store: {url: 'tinydb:./store'}\n"
        "providers:\n"
        "  alpine:\n"
        "    base_url: http://127.0.0.1:9\n"
        "    formats: [openai.chat]\n"
        '    auth: {header: Authorization, value: "Bearer {{ key }}"}\n'
        "    dialect: openai\n"
    )


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=input, prog_name="nexeon")


def done(*arguments: str, input: str | None = None) -> Result:
    result = run(*arguments, input=input)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("input", [None, "", " \n"])
def test_a_secret_that_does_not_come_is_missed(input: str | None) -> None:
    result = run("provider-keys", "add", "alpine", input=input)
    assert result.exit_code == 1
    assert "no secret came from stdin: pipe it in" in result.stderr


@pytest.mark.parametrize("verb", ["add", "refund"])
def test_what_takes_credit_away_is_another_command(verb: str) -> None:
    result = run("credits", verb, "acme", "-5")
    assert result.exit_code == 2
    assert "nexeon credits adjust acme -5" in result.stderr
    done("accounts", "create", "--name", "acme")
    assert "12.50 USD" in done("credits", verb, "acme", "12.50", "--reason", "x").stdout


def test_a_refund_for_a_request_that_nobody_knows_says_so() -> None:
    done("accounts", "create", "--name", "acme")
    result = done("credits", "refund", "acme", "1", "--request", "req_typo")
    assert "no request `req_typo` is known: no key got its budget back" in result.stderr
    assert done("credits", "refund", "acme", "1").stderr == ""


def test_keys_are_listed_with_the_name_of_their_account() -> None:
    id = done("accounts", "create", "--name", "acme").stdout.strip()
    done("keys", "create", "--account", "acme", "--name", "laptop")
    assert done("keys", "list").stdout.splitlines()[1].split()[1:3] == ["acme", "laptop"]
    assert f'"account": "{id}"' in done("keys", "list", "--json").stdout


def test_what_happens_now_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic: dict[str, Any] = {
        "span": 60,
        "requests": [0.5, 1.5],
        "total": {"requests": 60, "spend": "1.25"},
        "models": [{"model": "swift", "requests": 60}],
        "providers": [],
    }
    now = {"now": "2030-03-17", "url": None, "running": 2, "spend_today": "7.50", "traffic": traffic}
    now["problems"] = [{"state": "open", "name": "swift", "words": "rests for 9 s"}]
    monkeypatch.setattr("nexeon.cli.live.call", lambda *words, **params: now)
    result = done("live", "show")
    shown = dict(line.rsplit(None, 1) for line in result.stdout.splitlines() if "  " in line)
    assert shown["requests in 60 s"] == "60"
    assert shown["spend in 60 s"] == "1.25"
    assert shown["spend_today"] == "7.50"
    assert shown["swift"] == "60"
    assert "[0.5" not in result.stdout
    assert "open: swift: rests for 9 s" in result.stderr
    traffic.clear()
    now["traffic"] = None
    assert "log.enabled" in done("live", "show").stdout


def test_what_a_record_consists_of_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"id": "swift", "price": {"input": "1.25", "output": None}, "targets": [{"provider": "alpine"}, {"a": 1}]}
    monkeypatch.setattr("nexeon.cli.models.call", lambda *words, **params: model)
    shown = dict(line.split(None, 1) for line in done("models", "show", "swift").stdout.splitlines())
    assert shown == {"id": "swift", "price": "input=1.25", "targets": "provider=alpine | a=1"}
