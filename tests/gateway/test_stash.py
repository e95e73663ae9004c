"""What answers sealed is kept within bounds, and goes back to nobody but its account and its maker."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from scripts import says
from shipped import shipped
from upstream import Call, Upstream

from nexeon.admin import AdminService
from nexeon.gateway.stash import Stash, call_ids, give_back
from nexeon.mapping.identifiers import fit_id
from nexeon.mapping.seals import close_envelope

Json = dict[str, Any]
MAKER = {"provider": "p", "account": "org"}


def seal(data: str) -> Json:
    return {"provider": "p", "account": "org", "model": "m", "format": "f", "kind": "signature", "data": data}


def thought(data: str) -> Json:
    return {"type": "reasoning", "text": f"because of {data}", "seal": seal(data)}


def call(call_id: str, arguments: str = "{}", **more: Any) -> Json:
    return {"type": "tool_call", "call_id": call_id, "name": "look", "arguments": arguments, **more}


def history(*blocks: Json) -> Json:
    return {"turns": [{"role": "user", "blocks": []}, {"role": "assistant", "blocks": list(blocks)}]}


def given_back(stash: Stash, request: Json, account: str = "acc", provider: str = "p") -> list[Json]:
    restored = give_back(request, stash.find(account, provider, call_ids(request)))
    blocks: list[Json] = restored["turns"][1]["blocks"]
    return blocks


def test_reasoning_returns_before_its_call_and_seals_to_their_blocks() -> None:
    stash = Stash()
    text = {"type": "text", "text": "One moment.", "seal": seal("t")}
    first, second = call("c1", seal=seal("s1")), call("c2")
    answer = {"blocks": [thought("a"), text, first, thought("b"), second]}
    stash.keep("acc", answer, MAKER)
    plain = {"type": "text", "text": "One moment."}
    request = history(plain, call("c1"), call("c2"))
    assert given_back(stash, request) == [thought("a"), text, first, thought("b"), second]
    assert request == history(plain, call("c1"), call("c2"))  # the request itself stays


def test_only_what_is_missing_is_given() -> None:
    stash = Stash()
    stash.keep("acc", {"blocks": [thought("a"), call("c1")]}, MAKER)
    whole = history(thought("mine"), call("c1"))
    assert given_back(stash, whole) is whole["turns"][1]["blocks"]
    # the same thought without its proof is replaced
    bare = history({"type": "reasoning", "text": "because of a"}, call("c1"))
    assert given_back(stash, bare) == [thought("a"), call("c1")]


def test_reasoning_without_a_seal_returns_too() -> None:
    stash = Stash()
    open_thought = {"type": "reasoning", "text": "hm"}
    stash.keep("acc", {"blocks": [open_thought, call("c1")]}, MAKER)
    assert given_back(stash, history(call("c1"))) == [open_thought, call("c1")]


@pytest.mark.parametrize(("account", "provider"), [("other", "p"), ("acc", "q")])
def test_nobody_else_gets_it(account: str, provider: str) -> None:
    stash = Stash()
    stash.keep("acc", {"blocks": [thought("a"), call("c1")]}, MAKER)
    request = history(call("c1"))
    assert given_back(stash, request, account, provider) == [call("c1")]


def test_a_call_is_known_by_more_than_its_id() -> None:
    """Some providers name their calls `call_0` in every answer."""
    stash = Stash()
    stash.keep("acc", {"blocks": [thought("a"), call("call_0", '{"at": 1}')]}, MAKER)
    other = history(call("call_0", '{"at": 2}'))
    assert given_back(stash, other) == [call("call_0", '{"at": 2}')]
    same = history(call("call_0", '{ "at":1 }'))
    assert given_back(stash, same) == [thought("a"), call("call_0", '{ "at":1 }')]


@pytest.mark.parametrize("longest", [40, 64])
def test_a_fitted_id_is_the_same_call(longest: int) -> None:
    stash = Stash()
    call_id = "a:call with ümlaut " * 4
    stash.keep("acc", {"blocks": [thought("a"), call(call_id)]}, MAKER)
    fitted = fit_id(call_id, longest)
    assert given_back(stash, history(call(fitted))) == [thought("a"), call(fitted)]


def test_calls_of_two_answers_in_one_turn() -> None:
    stash = Stash()
    stash.keep("acc", {"blocks": [thought("a"), call("c1")]}, MAKER)
    stash.keep("acc", {"blocks": [thought("b"), call("c2")]}, MAKER)
    assert given_back(stash, history(call("c1"), call("c2"))) == [thought("a"), call("c1"), thought("b"), call("c2")]


@pytest.mark.parametrize(
    "blocks", [[], [thought("a")], [call("c1")], [call("c1"), {"type": "text", "text": "x"}], [{"type": "reasoning"}]]
)
def test_what_nobody_can_miss_is_not_kept(blocks: list[Json]) -> None:
    stash = Stash()
    stash.keep("acc", {"blocks": blocks}, MAKER)
    assert len(stash) == 0


def test_it_forgets_by_time_and_size() -> None:
    now = 0.0
    stash = Stash(seconds=10, most=2000, clock=lambda: now)
    for number in range(50):
        stash.keep("acc", {"blocks": [thought("x" * 300), call(f"c{number}")]}, MAKER)
    assert 1 <= len(stash) <= 4
    assert given_back(stash, history(call("c49")))[0]["type"] == "reasoning"
    assert given_back(stash, history(call("c0"))) == [call("c0")]
    now = 11.0
    assert given_back(stash, history(call("c49"))) == [call("c49")]
    stash.keep("acc", {"blocks": [thought("new"), call("new")]}, MAKER)
    assert len(stash) == 1
    stash.keep("acc", {"blocks": [thought("x" * 5000), call("huge")]}, MAKER)
    assert given_back(stash, history(call("huge"))) == [call("huge")]


def test_a_newer_answer_with_the_same_id_stands() -> None:
    now = 0.0
    stash = Stash(seconds=10, clock=lambda: now)
    stash.keep("acc", {"blocks": [thought("old"), call("c")]}, MAKER)
    now = 5.0
    stash.keep("acc", {"blocks": [thought("new"), call("c")]}, MAKER)
    now = 12.0
    stash.keep("acc", {"blocks": [thought("x"), call("d")]}, MAKER)  # the old one is forgotten now
    assert given_back(stash, history(call("c"))) == [thought("new"), call("c")]


# over HTTP


def enveloped(format: str, provider: str, kind: str, *, wrapped: bool = False) -> str:
    text = close_envelope(
        {"provider": provider, "account": "default", "model": "m", "format": format, "kind": kind, "data": "PROOF=="}
    )
    return base64.b64encode(text.encode()).decode() if wrapped else text


PIPES = {
    "anthropic:anthropic.messages": (
        "/v1/messages", "signature", "anthropic.messages",
        lambda seal: {"max_tokens": 9, "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": seal},
                                              {"type": "redacted_thinking", "data": seal},
                                              {"type": "text", "text": "so"}]},
            {"role": "user", "content": "more"}]},
    ),
    "openai:openai.responses": (
        "/v1/responses", "encrypted_content", "openai.responses",
        lambda seal: {"input": [
            {"role": "user", "content": "hi"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal},
            {"role": "assistant", "content": "so"}, {"role": "user", "content": "more"}]},
    ),
    "openrouter:openai.chat": (
        "/v1/chat/completions", "signature", "openai.chat",
        lambda seal: {"messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "so", "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": seal, "index": 0}]},
            {"role": "user", "content": "more"}]},
    ),
    "gemini:gemini.generate_content": (
        "/v1beta/models/gemini:gemini.generate_content:generateContent", "thought_signature",
        "gemini.generate_content",
        lambda seal: {"contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"text": "so", "thoughtSignature": seal}]},
            {"role": "user", "parts": [{"text": "more"}]}]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "base64"])
@pytest.mark.parametrize("model", PIPES)
async def test_the_pipe_opens_envelopes(upstream: Upstream, tmp_path: Path, model: str, wrapped: bool) -> None:
    path, kind, format, body = PIPES[model]
    provider = model.partition(":")[0]
    upstream.plays(says({}, 500))
    async with shipped(upstream, tmp_path) as gate:
        for maker, written in ((provider, format), ("elsewhere", format), (provider, "other.format")):
            sent = {"model": model, **body(enveloped(written, maker, kind, wrapped=wrapped))}
            await gate.client.post(path, json=sent)
    # a provider that fails is asked again: the bodies of the three requests, each once
    own, *others = list(dict.fromkeys(call.body for call in upstream.calls))
    assert b"PROOF==" in own
    assert b"nxs1." not in own
    assert len(set(others)) == 1  # whatever the reason, a foreign seal is left out
    assert b"PROOF" not in others[0]
    assert b"nxs1." not in others[0]
    assert b"bnhzMS" not in others[0]
    assert b"more" in others[0]


async def test_a_loop_stays_with_the_organisation_that_thought(upstream: Upstream, tmp_path: Path) -> None:
    """Also where the client sends nothing that tells which one it was."""
    thinking = {"type": "thinking", "thinking": "hm", "signature": "S=="}
    keys: list[str] = []

    async def script(call: Call) -> None:
        keys.append(call.headers["x-api-key"])
        made = {"type": "tool_use", "id": f"toolu_{len(keys)}", "name": "look", "input": {}}
        whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use"}
        await call.answer({**whole, "content": [thinking, made], "usage": {"input_tokens": 1, "output_tokens": 1}})

    upstream.plays(script)
    async with shipped(upstream, tmp_path) as gate:
        service = AdminService(gate.store, gate.gateway.config)
        for account in ("one", "two"):
            secret = f"key-of-{account}-0123456789"
            await service.provider_keys.add(provider="anthropic", secret=secret, account=account)
        tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
        question: Json = {"model": "anthropic:anthropic.messages", "tools": tools, "reasoning_effort": "high"}
        first = await gate.client.post(
            "/v1/chat/completions", json={**question, "messages": [{"role": "user", "content": "hi"}]}
        )
        (used,) = first.json()["choices"][0]["message"]["tool_calls"]
        turns = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [used]},
            {"role": "tool", "tool_call_id": used["id"], "content": "7"},
        ]
        for number in range(6):  # other conversations in between would take turns
            await gate.client.post("/v1/chat/completions", json={**question, "messages": turns})
            other = [{"role": "user", "content": f"something else {number}"}]
            await gate.client.post("/v1/chat/completions", json={**question, "messages": other})
    assert set(keys[1::2]) == {keys[0]}
    sent = upstream.calls[1].json["messages"][1]["content"]
    assert sent[0] == thinking
