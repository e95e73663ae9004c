"""`nexeon check` finds typos on both sides of a mapping, before a client does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from nexeon.cli import main
from nexeon.data import data_path
from nexeon.mapping.check import check

FORMAT = """\
format: toy
wire: {request: {path: /toy}}
define:
  block(b):
    $match: b.type
    text: {t: "{{ b.text }}"}
    $else: {$drop: unknown}
request:
  decode:
    model: "{{ body.model }}"
    turns: [{$for: m in body.messages, role: user, blocks: [{type: text, text: "{{ m.text }}"}]}]
  encode:
    model: "{{ request.model }}"
    messages: [{$for: t in request.turns, $then: {$for: b in t.blocks, $then: "{{ block(b) }}"}}]
response: {decode: {blocks: []}, encode: {model: "{{ ctx.model }}"}}
stream: {decode: {type: ping}, encode: {$drop: none}}
error: {decode: {kind: upstream, message: "{{ body.message }}"}, encode: {message: "{{ error.message }}"}}
"""
MESSAGE = {"type": "object", "properties": {"text": {"type": "string"}, "t": {"type": "string"}}}
REQUEST = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "messages": {"type": "array", "items": MESSAGE},
        "mode": {"enum": ["fast", "slow"]},
    },
}


def findings(tmp_path: Path, old: str = "", new: str = "") -> list[str]:
    assert old in FORMAT
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats/toy.yaml").write_text(FORMAT.replace(old, new, 1) if old else FORMAT)
    schemas = tmp_path / "schemas" / "formats" / "toy"
    schemas.mkdir(parents=True)
    (schemas / "request.json").write_text(json.dumps(REQUEST))
    report = check([tmp_path], [data_path("schemas"), tmp_path / "schemas"])
    return [str(problem) for problem in report.problems]


def test_a_sound_mapping_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{{ body.model }}",
            "{{ body.moodel }}",
            "formats/toy.yaml:10: `body` has no field `moodel`: did you mean `model`?",
        ),
        ("{{ m.text }}", "{{ m.txt }}", "formats/toy.yaml:11: `m` has no field `txt`: did you mean `text`?"),
        (
            "{type: text, text:",
            "{type: text, txet:",
            "formats/toy.yaml:11: the target has no field `txet`: did you mean `text`?",
        ),
        (
            "{type: text,",
            "{type: txt,",
            "formats/toy.yaml:11: `txt` where `text` or `refusal` or `image` or `document` or `audio` or "
            "`video` … is expected: did you mean `text`?",
        ),
        (
            "role: user",
            "role: usr",
            "formats/toy.yaml:11: `usr` where `user` or `assistant` or `system` is expected: did you mean `user`?",
        ),
        ("{t: ", "{z: ", "formats/toy.yaml:6: the target has no field `z`"),
        ("{{ b.text }}", "{{ b.txet }}", "formats/toy.yaml:6: `b` has no field `txet`: did you mean `text`?"),
        ("    text: {t", "    txet: {t", "formats/toy.yaml:6: the label `txet` can never match: did you mean `text`?"),
        ("{{ request.model }}", "{{ request.turns }}", "formats/toy.yaml:13: array where string is expected"),
        (
            "{{ ctx.model }}",
            "{{ ctx.modell }}",
            "formats/toy.yaml:15: `ctx` has no field `modell`: did you mean `model`?",
        ),
        (
            "kind: upstream",
            "kind: upstraem",
            "formats/toy.yaml:17: `upstraem` where `invalid_request` or `model_not_found` or `not_found` or "
            "`authentication` or `billing` or `permission` … is expected: did you mean `upstream`?",
        ),
        (
            "{type: ping}",
            '{type: ping, x: "{{ ctx.profile.nobody }}"}',
            "formats/toy.yaml:16: no dialect says `profile.nobody`",
        ),
        (
            "wire:",
            "params: {sampling.tempreature: t}\nwire:",
            "formats/toy.yaml:2: `sampling.tempreature`: no field `tempreature`: did you mean `temperature`?",
        ),
        ("path: /toy", "pth: /toy", "formats/toy.yaml:2 · wire.request: unknown key `pth`: did you mean `path`?"),
    ],
)
def test_a_typo_is_found_with_its_line_and_mend(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in findings(tmp_path, old, new)


def test_a_broken_schema_is_named(tmp_path: Path) -> None:
    schemas = tmp_path / "s"
    schemas.mkdir()
    (schemas / "a.json").write_text('{"type": "strnig"}')
    (schemas / "b.json").write_text("{")
    problems = [str(problem) for problem in check([tmp_path], [schemas]).problems]
    assert len(problems) == 2
    assert problems[0].startswith("a.json · $.type: not a JSON Schema: 'strnig' is not valid")
    assert problems[1].startswith("b.json: not JSON: ")


def test_what_is_shipped_passes_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data_path("gateway.yaml").parent)
    result = CliRunner().invoke(main, ["check"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.fullmatch(r"nexeon: \d+ formats, \d+ dialects, \d+ cases: good\n", result.stderr)


def test_findings_for_scripts_and_for_pull_requests(tmp_path: Path) -> None:
    config = tmp_path / "g.yaml"
    model = "{owned_by: o, created: 1, price: {input: 1, output: 1}, targets: [{provider: nope, model: m}]}"
    config.write_text(f"providers: {{}}\nmodels:\n  x: {model}\n")
    as_json = CliRunner().invoke(main, ["check", "-c", str(config), "--format", "json"])
    assert as_json.exit_code == 1
    (found,) = json.loads(as_json.stdout)
    assert (found["line"], found["severity"]) == (3, "error")
    assert "unknown provider `nope`" in found["message"]
    as_github = CliRunner().invoke(main, ["check", "-c", str(config), "--format", "github"])
    assert as_github.exit_code == 1
    assert re.fullmatch(r"::error file=.*g\.yaml,line=3::.*unknown provider `nope`.*\n", as_github.stdout)
