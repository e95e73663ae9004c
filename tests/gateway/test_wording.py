"""What a client is told of its request is said in the words of its own request, whatever the target's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shipped import library, shipped
from upstream import Upstream

from nexeon.config import load_config
from nexeon.data import data_path
from nexeon.gateway.explain import Explainer
from nexeon.mapping.places import Places
from nexeon.mapping.policy import Policy

CHAT, RESPONSES, MESSAGES, GEMINI = (
    "openai.chat",
    "openai.responses",
    "anthropic.messages",
    "gemini.generate_content",
)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(load_config([data_path("gateway.yaml")], environ={}))


def asked(format: str, *parts: Any, **more: Any) -> dict[str, Any]:
    """One user turn of some parts, after a turn of the assistant."""
    if format == CHAT:
        said: Any = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes?"}]
        return {"model": "m", "messages": [*said, {"role": "user", "content": list(parts)}], **more}
    if format == RESPONSES:
        said = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes?"}]
        return {"model": "m", "input": [*said, {"role": "user", "content": list(parts)}], **more}
    if format == MESSAGES:
        said = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes?"}]
        return {"model": "m", "max_tokens": 9, "messages": [*said, {"role": "user", "content": list(parts)}], **more}
    said = [{"role": "user", "parts": [{"text": "hello"}]}, {"role": "model", "parts": [{"text": "yes?"}]}]
    return {"contents": [*said, {"role": "user", "parts": list(parts)}], **more}


LOOK = {
    CHAT: {"type": "text", "text": "look"},
    RESPONSES: {"type": "input_text", "text": "look"},
    MESSAGES: {"type": "text", "text": "look"},
    GEMINI: {"text": "look"},
}
URL = "https://e.example/a.png"
IMAGE = {
    CHAT: {"type": "image_url", "image_url": {"url": URL}},
    RESPONSES: {"type": "input_image", "image_url": URL},
    MESSAGES: {"type": "image", "source": {"type": "url", "url": URL}},
    GEMINI: {"fileData": {"mimeType": "image/png", "fileUri": URL}},
}
PLACE = {
    CHAT: "messages[2].content[1].image_url",
    RESPONSES: "input[2].content[1]",
    MESSAGES: "messages[2].content[1]",
    GEMINI: "contents[2].parts[1]",
}


@pytest.mark.parametrize("format", [CHAT, RESPONSES, MESSAGES, GEMINI])
def test_what_a_dialect_refuses_is_named_as_the_client_has_it(explainer: Explainer, format: str) -> None:
    request = asked(format, LOOK[format], IMAGE[format])
    (refusal, *_) = {one["refusal"] for one in explainer(model="deepseek-chat", format=format, request=request)}
    assert refusal.split(": ")[0] == PLACE[format]


VIDEO = {
    CHAT: {"type": "video_url", "video_url": {"url": "https://e.example/v.mp4"}},
    GEMINI: {"file_data": {"mime_type": "video/mp4", "file_uri": "https://e.example/v.mp4"}},
}


@pytest.mark.parametrize(("format", "place"), [(CHAT, "messages[2].content[1]"), (GEMINI, "contents[2].parts[1]")])
def test_what_a_mapping_refuses_is_named_as_the_client_has_it(explainer: Explainer, format: str, place: str) -> None:
    request = asked(format, LOOK[format], VIDEO[format])
    (target,) = explainer(model="claude-3-5-sonnet-20241022", format=format, request=request)
    assert target["refusal"].startswith(f"{place}: ")


SEARCHED = [
    {"type": "text", "text": "let me see"},
    {"type": "server_tool_use", "id": "srvtoolu_12", "name": "web_search", "input": {"query": "cats"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_12",
        "content": [
            {"type": "web_search_result", "url": "https://a.example", "title": "About", "encrypted_content": "EqMD"}
        ],
    },
]


def test_what_a_mapping_drops_is_named_as_the_client_has_it(explainer: Explainer) -> None:
    request = asked(MESSAGES, LOOK[MESSAGES])
    request["messages"][1]["content"] = SEARCHED
    (target, *_) = explainer(model="deepseek-chat", format=MESSAGES, request=request)
    places = [name.split(": ")[0] for name in target["dropped"]]
    assert places == ["messages[1].content[1]", "messages[1].content[2]"]
    assert all(loss["line"].startswith("formats/openai.chat.yaml:") for loss in target["losses"])


@pytest.mark.parametrize(
    ("format", "given", "name"),
    [
        (CHAT, {"n": 300}, "n"),
        (CHAT, {"n": 3, "stream": True}, "n"),
        (GEMINI, {"generationConfig": {"candidateCount": 300}}, "generationConfig.candidateCount"),
    ],
)
def test_several_answers_are_named_as_the_client_has_them(
    explainer: Explainer, format: str, given: dict[str, Any], name: str
) -> None:
    request = asked(format, LOOK[format], **given)
    (target,) = explainer(model="claude-3-5-sonnet-20241022", format=format, request=request)
    assert target["refusal"].startswith(f"{name}: ")


OBJECTS = {
    CHAT: ({"type": "file", "file": {"file_id": "file-1"}}, "messages[2].content[1].file.file_id"),
    RESPONSES: ({"type": "input_file", "file_id": "file-1"}, "input[2].content[1].file_id"),
    MESSAGES: (
        {"type": "document", "source": {"type": "file", "file_id": "file-1"}},
        "messages[2].content[1].source.file_id",
    ),
}


@pytest.mark.parametrize("format", list(OBJECTS))
def test_objects_of_other_accounts_are_named_as_the_client_has_them(explainer: Explainer, format: str) -> None:
    part, place = OBJECTS[format]
    request = asked(format, LOOK[format], part)
    (target, *_) = explainer(model="gpt-4.1-mini", format=format, request=request)
    assert target["refusal"].startswith(f"{place}: ")
    assert target["line"].startswith(f"formats/{format}.yaml:")


MCP = {"type": "mcp", "server_label": "docs", "server_url": "https://mcp.example"}


@pytest.mark.parametrize(
    ("tools", "place"),
    [
        ([MCP, {**MCP, "server_label": "mail", "connector_id": "connector_gmail"}], "tools[1].connector_id"),
        ([{**MCP, "allowed_tools": {"read_only": True}}, MCP], "tools[0].allowed_tools"),
    ],
)
def test_what_a_policy_refuses_is_named_as_the_client_has_it(
    explainer: Explainer, tools: list[Any], place: str
) -> None:
    request = asked(RESPONSES, LOOK[RESPONSES], tools=tools)
    (target,) = explainer(model="claude-sonnet-4-6", format=RESPONSES, request=request)
    assert target["refusal"].startswith(f"{place}: ")


async def test_what_a_policy_refuses_of_a_message_is_named_with_its_index(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = {"blocks.image.detail": {"reject": "sharp eyes cost"}, "turns[*].name": {"reject": "nobody has a name"}}
    monkeypatch.setattr(library().format(MESSAGES), "policy", Policy(policy, MESSAGES))
    sharp = {"type": "image_url", "image_url": {"url": URL, "detail": "high"}}
    named = asked(CHAT, LOOK[CHAT])
    named["messages"][2]["name"] = "Zoe"
    async with shipped(upstream, tmp_path) as gate:
        for path, request, place, message in (
            ("chat/completions", asked(CHAT, LOOK[CHAT], sharp), "messages[2].content[1].image_url.detail", "sharp"),
            (
                "responses",
                asked(RESPONSES, {**IMAGE[RESPONSES], "detail": "low"}),
                "input[2].content[0].detail",
                "sharp",
            ),
            ("chat/completions", named, "messages[2].name", "nobody"),
        ):
            answer = await gate.client.post(f"/v1/{path}", json={**request, "model": "anthropic:anthropic.messages"})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, place)
            assert answer.json()["error"]["message"].startswith(message)


def test_a_setting_that_a_dialect_drops_is_named_as_the_client_has_it(explainer: Explainer) -> None:
    request = asked(CHAT, LOOK[CHAT], top_p=0.25, temperature=0.75, reasoning_effort="low")
    for model in ("o3-mini", "gpt-5"):
        for target in explainer(model=model, format=CHAT, request=request, to=[RESPONSES]):
            assert {name.split(": ")[0] for name in target["dropped"]} <= {"top_p", "temperature"}
    request = asked(GEMINI, LOOK[GEMINI], generationConfig={"topP": 0.25, "temperature": 0.75})
    found = [
        name
        for target in explainer(model="gpt-5", format=GEMINI, request=request, to=[RESPONSES, CHAT])
        for name in target["dropped"]
    ]
    assert {name.split(": ")[0] for name in found} == {"generationConfig.topP", "generationConfig.temperature"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("turns[0].blocks[0]", "messages[0].content"),
        ("turns[1].blocks[0]", "messages[1].content[0]"),
        ("turns[1].blocks[1]", "messages[1].content[1]"),
        ("turns[1].blocks[1].source", "messages[1].content[1]"),
        ("turns[1]", "messages[1]"),
        ("turns[2].blocks[0]", "messages[2].calls[0]"),
        ("turns[3].blocks[0]", "messages[3]"),
        ("turns[9]", ""),
        ("tools[0]", ""),
        ("not a [path", ""),
    ],
)
def test_places_are_told_by_what_both_trees_hold(path: str, expected: str) -> None:
    def text(value: str) -> str:
        return value[:1] + value[1:]

    hello, see, url, call, name, arguments, result = map(
        text, ("hello", "see", "https://u", "call_1", "f1", '{"a":1}', "done")
    )
    client = {
        "messages": [
            {"role": "user", "content": hello},
            {"role": "user", "content": [{"type": text("text"), "text": see}, {"image": {"url": url}}]},
            {"role": "assistant", "calls": [{"id": call, "function": {"name": name, "arguments": arguments}}]},
            {"role": "tool", "id": text("call_1"), "content": result},
        ]
    }
    answered = client["messages"][3]["id"]
    tree = {
        "turns": [
            {"blocks": [{"type": "text", "text": hello}]},
            {"blocks": [{"type": "text", "text": see}, {"type": "image", "source": {"url": url}}]},
            {"blocks": [{"type": "tool_call", "id": call, "name": name, "arguments": arguments}]},
            {"blocks": [{"type": "tool_result", "id": answered, "blocks": [{"type": "text", "text": result}]}]},
        ],
        "tools": [{"name": text("made here")}],
    }
    assert Places(client).of(tree, path) == expected
