"""`nexeon explain` and `nexeon check` over what is shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nexeon.cli import main
from nexeon.data import data_path
from nexeon.gateway.explain.differences import differences

REQUEST = {"model": "whatever", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
SHIPPED = str(data_path("gateway.yaml"))


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=input, prog_name="nexeon")


def explained(model: str, request: Any, source: str = "openai.chat") -> list[dict[str, Any]]:
    arguments = ("explain", "-c", SHIPPED, "--model", model, "--from", source, "-", "--json")
    result = run(*arguments, input=json.dumps(request))
    assert result.stderr == ""
    found: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == int(any(target["refusal"] for target in found))
    return found


def test_the_same_format_lists_its_patches() -> None:
    target = explained("deepseek-chat", REQUEST)[0]
    assert (target["provider"], target["format"]) == ("deepseek", "openai.chat")
    assert target["url"].endswith("/chat/completions")
    assert target["body"]["messages"] == REQUEST["messages"]
    assert f'~ model: "whatever" → "{target["model"]}"' in target["patches"]


def test_another_format_shows_its_own_body() -> None:
    (target,) = explained("claude-3-5-sonnet-20241022", REQUEST)
    assert (target["format"], target["patches"], target["refusal"]) == ("anthropic.messages", [], "")
    assert target["body"]["model"] == target["model"]
    assert target["body"]["max_tokens"] == 50
    assert "hi" in json.dumps(target["body"]["messages"])


def test_a_request_that_is_wrong_is_refused_with_the_field() -> None:
    (target,) = explained("claude-3-5-sonnet-20241022", {**REQUEST, "messages": 5})
    assert target["refusal"].startswith("messages:")
    assert target["body"] is None
    assert (
        "not valid JSON" in run("explain", "--model", "deepseek-chat", "--from", "openai.chat", "-", input="{").stdout
    )


def test_text_is_for_people(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(REQUEST))
    result = run("explain", str(file), "-c", SHIPPED, "--model", "deepseek-chat", "--from", "openai.chat")
    assert result.exit_code == 0
    assert result.stdout.startswith("# deepseek · ")
    assert "\nPOST https://api.deepseek.com/chat/completions\n{\n" in result.stdout
    assert "patched: ~ model: " in result.stdout


def test_unknown_names_are_met_with_a_guess(tmp_path: Path) -> None:
    wrong = run("explain", "-c", SHIPPED, "--model", "deepseek-chad", "--from", "openai.chat", "-", input="{}")
    assert (wrong.exit_code, "did you mean `deepseek-chat`?" in wrong.stderr) == (1, True)
    wrong = run("explain", "-c", SHIPPED, "--model", "deepseek-chat", "--from", "openai.chatt", "-", input="{}")
    assert (wrong.exit_code, "did you mean `openai.chat`?" in wrong.stderr) == (1, True)
    wrong = run("explain", "--model", "m", "--from", "openai.chat", str(tmp_path / "none.json"))
    assert (wrong.exit_code, "none.json" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1, "b": {"c": [1, {"d": 2}]}}, {"a": 1, "b": {"c": [1, {"d": 2}]}}, []),
        ({"a": 1, "b": 2}, {"b": 3, "c": "x"}, ["- a", "~ b: 2 → 3", '+ c: "x"']),
        ({"a": [{"b": 1}]}, {"a": [{"b": True}]}, ["~ a[0].b: 1 → true"]),
        ({"a": [1]}, {"a": [1, 2]}, ["~ a: [1] → [1, 2]"]),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": {}}}, ["+ a.c: {}"]),
    ],
)
def test_differences_name_their_place(before: Any, after: Any, found: list[str]) -> None:
    assert differences(before, after) == found


FORMAT_ERROR = "store: {url: 'tinydb:./data'}\nmodls: {}\n"


def test_check_reports_findings_for_people_scripts_and_pull_requests(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(FORMAT_ERROR)
    people = run("check", "-c", str(file))
    assert people.exit_code == 1
    assert f"{file}:2" in people.stdout
    assert "errors" in people.stderr
    (finding,) = json.loads(run("check", "--format", "json", "-c", str(file)).stdout)
    assert (finding["file"], finding["line"], finding["severity"]) == (str(file), 2, "error")
    assert run("check", "--format", "github", "-c", str(file)).stdout.startswith(f"::error file={file},line=2::")


def test_check_looks_at_operators_mappings(tmp_path: Path) -> None:
    (tmp_path / "mine" / "formats").mkdir(parents=True)
    (tmp_path / "mine" / "formats" / "odd.yaml").write_text("request: 5\n")
    file = tmp_path / "gateway.yaml"
    file.write_text("mappings: [./mine]\n")
    result = run("check", "-c", str(file))
    assert result.exit_code == 1
    assert "odd.yaml" in result.stdout
