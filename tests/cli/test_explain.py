"""`nexeon explain` and `nexeon check` over what is shipped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import nexeon.gateway.explain
from nexeon.cli import main
from nexeon.config import load_config
from nexeon.data import data_path
from nexeon.gateway.explain import Explainer
from nexeon.gateway.explain.differences import differences
from nexeon.mapping import ahead

REQUEST = {"model": "whatever", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
SHIPPED = str(data_path("gateway.yaml"))


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command would compile the mappings for itself."""
    monkeypatch.setattr(
        nexeon.gateway.explain, "Explainer", lambda config: MADE.setdefault(config.files, Explainer(config))
    )


MADE: dict[Any, Explainer] = {}


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


CLIENT = {
    "model": "m",
    "seed": 4,
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e.example/a.png"}}]},
    ],
}


@pytest.fixture
def request_file(tmp_path: Path) -> str:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(CLIENT))
    return str(file)


def text(*arguments: str, width: int = 80, **environment: str) -> list[str]:
    result = CliRunner(env={"COLUMNS": str(width), **environment}).invoke(
        main, ["explain", "-c", SHIPPED, *arguments], prog_name="nexeon"
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert all(len(line) <= width for line in result.stdout.splitlines())
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_text_is_side_by_side_with_the_mapping_lines(request_file: str) -> None:
    arguments = (request_file, "--model", "claude-3-5-sonnet-20241022", "--from", "openai.chat")
    wide = text(*arguments, width=160)
    assert wide[0].startswith("# anthropic · claude-3-5-sonnet-20241022 · anthropic.messages")
    assert wide[1].startswith("POST https://api.anthropic.com/v1/messages")
    row = next(line for line in wide if '"text": "be brief"' in line)
    assert re.fullmatch(
        r'messages\[0\]\.content: "be brief" +"text": "be brief" +openai\.chat:\d+ → anthropic\.messages:\d+', row
    )
    assert next(line for line in wide if line.startswith("dropped: seed")).endswith(policy_place("sampling.seed"))
    narrow = text(*arguments)
    place = next(number for number, line in enumerate(narrow) if '"text": "be brief"' in line)
    assert narrow[place].startswith('messages[0].content: "be brief"')
    assert re.fullmatch(r" +openai\.chat:\d+ → anthropic\.messages:\d+", narrow[place + 1])


def policy_place(path: str) -> str:
    lines = data_path("mappings/formats/anthropic.messages.yaml").read_text().splitlines()
    within = lines.index("policy:")
    number = next(number for number, line in enumerate(lines[within:], within + 1) if line.strip().startswith(path))
    return f"formats/anthropic.messages.yaml:{number}"


def test_colours_are_for_terminals_only(request_file: str) -> None:
    arguments = (request_file, "--model", "claude-3-5-sonnet-20241022", "--from", "openai.chat")
    assert "\x1b" not in "".join(text(*arguments))
    forced = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    shown = CliRunner(env={"COLUMNS": "80", **forced}).invoke(main, ["explain", "-c", SHIPPED, *arguments]).stdout
    assert "\x1b[" in shown
    plain = CliRunner(env={"COLUMNS": "80", **forced, "NO_COLOR": "1"}).invoke(
        main, ["explain", "-c", SHIPPED, *arguments]
    )
    assert "\x1b[3" not in plain.stdout, "styles may stay, colours may not"


def test_the_same_format_shows_its_patches_as_text(request_file: str) -> None:
    shown = text(request_file, "--model", "gpt-4.1-mini", "--from", "openai.chat", "--to", "openai")
    assert "the client's own format" in shown[0]
    assert any(line.startswith('patched: ~ model: "m" → ') for line in shown)
    assert not any("dropped" in line for line in shown)


def test_a_refusal_names_the_line_that_refuses(request_file: str) -> None:
    shown = text(request_file, "--model", "deepseek-chat", "--from", "openai.chat")
    (refusal,) = {line for line in shown if line.startswith("refused: messages[1].content[0].image_url: ")}
    assert "takes no images" in refusal
    assert re.search(r"dialects/deepseek\.yaml:\d+", " ".join(shown))


def test_every_target_can_be_looked_at_at_once(request_file: str) -> None:
    result = run("explain", "-c", SHIPPED, "--all-targets", "--from", "openai.chat", request_file, "--json")
    targets = json.loads(result.stdout)
    shown = [(target["provider"], target["format"]) for target in targets]
    assert len(shown) == len(set(shown))
    providers = load_config([Path(SHIPPED)]).providers
    assert set(shown) == {(name, spoken) for name, provider in providers.items() for spoken in provider.formats}
    one = run("explain", "-c", SHIPPED, "--all-targets", "--to", "xai", "--from", "openai.chat", request_file, "--json")
    assert {target["provider"] for target in json.loads(one.stdout)} == {"xai"}
    lines = run(
        "explain", "-c", SHIPPED, "--model", "gpt-4.1-mini", "--to", "openai.chatt", "--from", "openai.chat", "-"
    )
    assert (lines.exit_code, "did you mean `openai.chat`?" in lines.stderr) == (1, True)
    none = run("explain", "-c", SHIPPED, "--model", "gpt-4.1-mini", "--to", "gemini", "--from", "openai.chat", "-")
    assert (none.exit_code, "no target of gpt-4.1-mini is at gemini" in none.stderr) == (1, True)


ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hello there"}, {"type": "mystery", "x": 1}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
EVENTS = [
    {"type": "message_start", "message": {**ANSWER, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello there"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
BACK = ("explain", "-c", SHIPPED, "--model", "claude-3-5-sonnet-20241022", "--from", "openai.chat")


def test_an_answer_is_explained_on_its_way_back(tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(ANSWER))
    result = run(*BACK, "--response", str(file), "--json")
    assert result.exit_code == 0
    (target,) = json.loads(result.stdout)
    (part,) = target["parts"]
    (told,) = part["told"]
    assert told["choices"][0]["message"]["content"] == "hello there"
    (value,) = [one for one in part["values"][0] if one["path"] == "choices[0].message.content"]
    assert value["from"] == ["content[0].text"]
    assert [line.split(":")[0] for line in value["lines"]] == [
        "formats/anthropic.messages.yaml",
        "formats/openai.chat.yaml",
    ]
    assert target["usage"]["input"] == 3
    shown = run(*BACK, "--response", str(file)).stdout
    assert 'content[0].text: "hello there"' in shown


def test_a_providers_error_is_explained_in_the_clients_words(tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    file.write_text(json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": "too odd"}}))
    result = run(*BACK, "--response", str(file), "--status", "400", "--json")
    assert result.exit_code == 1
    (target,) = json.loads(result.stdout)
    assert (target["status"], target["failure"]) == (400, "too odd")
    assert target["parts"][0]["told"][0]["error"]["message"] == "too odd"
    assert "status 400: too odd" in run(*BACK, "--response", str(file), "--status", "400").stdout


@pytest.mark.parametrize("form", ["sse", "lines", "array"])
def test_a_stream_is_explained_event_by_event(tmp_path: Path, form: str) -> None:
    file = tmp_path / "stream"
    if form == "array":
        file.write_text(json.dumps(EVENTS))
    elif form == "lines":
        file.write_text("\n".join(json.dumps(event) for event in EVENTS))
    else:
        file.write_text("".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in EVENTS))
    result = run(*BACK, "--stream", str(file), "--json")
    assert result.exit_code == 0
    (target,) = json.loads(result.stdout)
    assert [part["given"] for part in target["parts"]] == EVENTS
    texts = [told["choices"][0]["delta"].get("content") for part in target["parts"] for told in part["told"]]
    assert "hello there" in texts
    delta = target["parts"][2]
    (value,) = [one for one in delta["values"][0] if one["path"] == "choices[0].delta.content"]
    assert value["from"] == ["[2].delta.text"]
    assert value["lines"][0].startswith("formats/anthropic.messages.yaml:")
    assert "[2]" in run(*BACK, "--stream", str(file)).stdout


def test_a_broken_stream_ends_as_the_clients_would(tmp_path: Path) -> None:
    file = tmp_path / "stream.jsonl"
    file.write_text("\n".join(json.dumps(event) for event in EVENTS[:3]))
    result = run(*BACK, "--stream", str(file), "--json")
    (target,) = json.loads(result.stdout)
    assert (result.exit_code, target["status"]) == (1, 502)
    assert (target["parts"][-1]["given"], "error" in target["parts"][-1]["told"][-1]) == (None, True)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "give a request file"),
        (("--response", "FILE", "--stream", "FILE"), 2, "ask one"),
        (("--stream", "FILE"), 1, "FILE:2: not valid JSON"),
        (("FILE", "--response", "FILE"), 1, "FILE: not valid JSON"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, arguments: tuple[str, ...], status: int, words: str) -> None:
    file = tmp_path / "broken"
    file.write_text('{"a": 1}\n{"b": ')
    result = run(*BACK, *(one.replace("FILE", str(file)) for one in arguments))
    assert result.exit_code == status
    assert words.replace("FILE", str(file)) in result.stderr
    nameless = run("explain", "-c", SHIPPED, "--from", "openai.chat", str(file))
    assert (nameless.exit_code, "--all-targets" in nameless.stderr) == (2, True)


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
    assert people.stderr.endswith(": 1 error\n")
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


def test_check_compiles_ahead_of_every_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Path] = []

    async def at_start(folders: Sequence[Path]) -> Mapping[str, bytes]:
        compiled.extend(folders)
        return {}

    monkeypatch.setattr(ahead, "at_start", at_start)
    (tmp_path / "mine").mkdir()
    file = tmp_path / "gateway.yaml"
    file.write_text("mappings: [./mine]\nroutes: []\n")
    for words, found in ((["check"], []), (["check", "--compile"], [tmp_path / "mine"])):
        result = run(*words, "-c", str(file))
        assert result.exit_code == 0, result.stderr + result.stdout
        assert compiled == found
    file.write_text(FORMAT_ERROR)
    assert run("check", "--compile", "-c", str(file)).exit_code == 1
    assert compiled == [tmp_path / "mine"]


def test_the_page_tells_every_field(tmp_path: Path) -> None:
    page = (Path(SHIPPED).parent / "docs/explain.md").read_text(encoding="utf-8")
    (target,) = explained("claude-3-5-sonnet-20241022", {**REQUEST, "seed": 3})
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(ANSWER))
    (answer,) = json.loads(run(*BACK, "--response", str(file), "--json").stdout)
    told = {*target, *answer, *target["values"][0], *target["losses"][0], *answer["parts"][0]}
    assert [name for name in sorted(told) if not re.search(rf'[`"]{name}[`"]', page)] == []
