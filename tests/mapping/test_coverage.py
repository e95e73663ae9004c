"""A field with neither a mapping nor a policy is found, and what a policy says is reported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nexeon.cli import main
from nexeon.data import data_path
from nexeon.mapping.coverage import covered
from nexeon.mapping.library import load_library
from nexeon.mapping.policy import Policy
from nexeon.mapping.schemas import Schemas

MAPPINGS = data_path("mappings")
SCHEMAS = Schemas(data_path("schemas"))


def gaps(tmp_path: Path, name: str, pattern: str) -> set[str]:
    """What is missing once the one line that the pattern finds is taken out of a shipped mapping."""
    text = (MAPPINGS / f"formats/{name}.yaml").read_text(encoding="utf-8")
    changed, count = re.subn(rf"(?m)^\s*{pattern}.*\n", "", text)
    assert count == 1
    (tmp_path / "formats").mkdir()
    (tmp_path / f"formats/{name}.yaml").write_text(changed, encoding="utf-8")
    form = load_library([tmp_path]).formats[name]
    return {f"{one.section}.{one.direction} {one.path}" for one in covered(form, SCHEMAS) if one.verdict is None}


@pytest.mark.parametrize(
    ("name", "pattern", "missing"),
    [
        ("openai.chat", r'seed: "\{\{ request', {"request.encode sampling.seed"}),
        ("openai.chat", r"blocks\.video\.range: drop", {"request.encode blocks.video.range"}),
        ("openai.chat", r'id: "\{\{ parts \| pluck', {"response.decode choices[*].message.reasoning_details[*].id"}),
        ("gemini.generate_content", r"response\.usage\.cost: drop", {"response.encode usage.cost"}),
        ("anthropic.messages", r"citations\.file_id: drop", {"request.encode citations.file_id"}),
        ("openai.responses", r"pieces\.finish\.stop_sequence: drop", {"stream.encode finish.stop_sequence"}),
        (
            "openai.responses",
            r"extra\.openai\.responses\.events\.response\.web_search_call: ignore",
            {"stream.decode response.web_search_call.searching", "stream.decode response.web_search_call.completed"},
        ),
        ("openai.responses", r"close: .*closed", {"stream.encode close"}),
        (
            "anthropic.messages",
            r"signature_delta: .*seal",
            {"stream.decode content_block_delta.delta(signature_delta).signature"},
        ),
        ("openai.chat", r"pieces\.delta\.citation: map", {"stream.encode delta.citation"}),
        ("gemini.generate_content", r"pieces\.open: ignore", {"stream.encode open"}),
    ],
)
def test_what_is_forgotten_is_found(tmp_path: Path, name: str, pattern: str, missing: set[str]) -> None:
    assert missing <= gaps(tmp_path, name, pattern)


def test_everything_shipped_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data_path("gateway.yaml").parent)
    result = CliRunner().invoke(main, ["check", "--coverage"])
    assert (result.exit_code, result.stdout) == (0, "")


REQUEST: dict[str, Any] = {
    "model": "m",
    "sampling": {"seed": 0, "temperature": None},
    "system": [{"type": "text", "text": "s", "cache": {}}],
    "turns": [
        {"role": "user", "name": "n", "blocks": [{"type": "image", "detail": "low"}]},
        {
            "role": "user",
            "blocks": [{"type": "tool_result", "call_id": "c", "blocks": [{"type": "document", "citations": True}]}],
        },
        {"role": "assistant", "blocks": [{"type": "text", "text": "t", "citations": [{"kind": "url", "text": "x"}]}]},
    ],
    "tools": [{"type": "function", "name": "f", "strict": False}, {"type": "web_search", "max_uses": 1}],
}


@pytest.mark.parametrize(
    ("path", "verdict", "lost"),
    [
        ("sampling.seed", "drop", True),
        ("sampling.seed", {"drop_except": [0]}, False),
        ("sampling.seed", "ignore", False),
        ("sampling.temperature", "drop", False),
        ("turns[*].name", "drop", True),
        ("turns[*].id", "drop", False),
        ("blocks[*].cache", "drop", True),
        ("blocks.image.cache", "drop", False),
        ("blocks.image.detail", {"drop_except": ["auto"]}, True),
        ("blocks.image.detail", {"drop_except": ["low"]}, False),
        ("blocks.document.citations", "drop", True),
        ("blocks.text.citations", "drop", True),
        ("blocks.image", "drop", False),
        ("citations.text", "drop", True),
        ("citations.url", "drop", False),
        ("tools.function.strict", {"drop_except": [False]}, False),
        ("tools[*].max_uses", "drop", True),
        ("response.usage.cost", "drop", False),
    ],
)
def test_what_a_request_loses(path: str, verdict: Any, lost: bool) -> None:
    losses = [(found, message) for found, _, message in Policy({path: verdict}, "own").losses(REQUEST)]
    assert losses == ([(path, None)] if lost else [])


def test_what_refuses_a_request() -> None:
    ((path, part, message),) = Policy({"blocks.image.detail": {"reject": "no"}}, "own").losses(REQUEST)
    assert (path, part["detail"], message) == ("blocks.image.detail", "low", "no")


def test_losses_go_by_the_clients_names() -> None:
    library = load_library([MAPPINGS])
    request = REQUEST | {"turns": [{"role": "user", "name": "n", "blocks": [{"type": "image", "detail": "low"}]}]}
    dropped, refused = library.formats["gemini.generate_content"].lost(request, library.formats["openai.chat"])
    assert ("image_url.detail" in dropped, refused) == (True, [])


@pytest.mark.parametrize(
    ("policy", "lost"),
    [
        ({}, [("top", None), ("prefix", None), ("mood", None), ("lazy", None)]),
        ({"extra.own.blocks.mood": "ignore"}, [("top", None), ("prefix", None), ("lazy", None)]),
        ({"extra.own.tools.lazy": {"drop_except": [True]}}, [("top", None), ("prefix", None), ("mood", None)]),
        (
            {"extra.own.top": {"reject": "no"}, "extra.own.turns.prefix": {"reject": "nor this"}},
            [("top", "no"), ("prefix", "nor this"), ("mood", None), ("lazy", None)],
        ),
    ],
)
def test_what_only_one_format_knows_is_reported(policy: dict[str, Any], lost: list[Any]) -> None:
    request = {
        "extra": {"own": {"top": 1}, "other": {"top": 2}},
        "turns": [
            {
                "role": "user",
                "extra": {"own": {"prefix": True}},
                "blocks": [
                    {"type": "text", "text": "t", "extra": {"own": {"mood": "blue"}}},
                    {"type": "server_tool_call", "name": "n", "extra": {"own": {"type": "x"}}},
                ],
            }
        ],
        "tools": [{"type": "function", "name": "f", "extra": {"own": {"lazy": True}}}],
    }
    assert [(field, why) for field, _, why in Policy(policy, "own").own_losses(request, "other")] == lost
    assert list(Policy(policy, "own").own_losses(request, "own")) == [("top", None, None)]
