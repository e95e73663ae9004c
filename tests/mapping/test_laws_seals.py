"""Laws of seals: every client brings back what an answer sealed, and its maker alone gets it, as it was."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.mapping import StreamDecoder, StreamEncoder
from nexeon.mapping.seals import close_envelope, open_envelope
from nexeon.wire.json import dumps, loads
from tests.mapping import canonical
from tests.mapping.laws import AFTER, ARGUMENTS, FORMATS, SCHEMAS, TEXT, context, library
from tests.mapping.test_laws_streams import PIECES

Answer = dict[str, Any]
MAKERS = {
    "openai.responses": ("encrypted_content", ("reasoning",)),
    "anthropic.messages": ("signature", ("reasoning",)),
    "gemini.generate_content": ("thought_signature", ("reasoning", "tool_call")),
    "openai.chat": ("signature", ("reasoning",)),
}
"""What each format's providers seal, and how it is called."""
BEARS = {
    "openai.chat": ("reasoning", "tool_call"),
    "openai.responses": ("reasoning", "tool_call"),
    "anthropic.messages": ("reasoning",),
    "gemini.generate_content": ("reasoning", "tool_call"),
}
"""What each format's clients can bring back a seal of (other calls' seals wait in the stash)."""
DATA = st.text("abcdefghijklmnopqrstuvwxyz0123456789+/=", max_size=60).map(lambda text: f"a+seal/{text}")
"""Never said by any text."""


@st.composite
def sealed_answers(draw: st.DrawFn, maker: str) -> Answer:
    """An answer of a provider that speaks the format, with seals of its own."""
    kind, sealed = MAKERS[maker]
    blocks: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 2))):
        seal = {"provider": "own", "account": "acc", "model": "m", "format": maker, "kind": kind, "data": draw(DATA)}
        if kind == "encrypted_content":  # under which the maker looks for it
            seal["data"] = f"rs_{number}:{seal['data']}"
        thought: dict[str, Any] = {"type": "reasoning", "seal": seal}
        thought |= {"summary": [draw(TEXT)]} if kind == "encrypted_content" else {"text": draw(TEXT)}
        if kind == "signature" and draw(st.booleans()):
            thought = {"type": "reasoning", "redacted": True, "seal": {**seal, "kind": "redacted"}}
        blocks += [thought, {"type": "text", "text": draw(TEXT)}]
    for number in range(draw(st.integers(0 if blocks else 1, 2))):
        call: dict[str, Any] = {"type": "tool_call", "call_id": f"call_{number}", "name": draw(canonical.WORDS)}
        call["arguments"] = draw(ARGUMENTS)
        if "tool_call" in sealed:
            made = {"provider": "own", "account": "acc", "model": "m", "format": maker}
            call["seal"] = {**made, "kind": kind, "data": draw(DATA)}
        blocks.append(call)
    return {"id": "r1", "blocks": blocks, "finish": {"reason": "stop"}, "usage": {"input": 1, "output": 1}}


def brought_back(client: str, body: Any) -> dict[str, Any]:
    """The canonical request of a client that goes on from an answer."""
    asked = "hi"
    match client:
        case "openai.chat":
            said = body["choices"][0]["message"]
            tools = [{"role": "tool", "tool_call_id": one["id"], "content": "x"} for one in said.get("tool_calls", ())]
            history = {"model": "m", "messages": [{"role": "user", "content": asked}, said, *tools]}
        case "openai.responses":
            output = body["output"]
            calls = [item["call_id"] for item in output if item["type"] == "function_call"]
            more = [{"type": "function_call_output", "call_id": one, "output": "x"} for one in calls]
            history = {"model": "m", "input": [{"role": "user", "content": asked}, *output, *more]}
        case "anthropic.messages":
            calls = [block["id"] for block in body["content"] if block["type"] == "tool_use"]
            more = [{"type": "tool_result", "tool_use_id": one, "content": "x"} for one in calls]
            history = {"model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": asked}]}
            history["messages"] += [{"role": "assistant", "content": body["content"]}]
            history["messages"] += [{"role": "user", "content": more or "go on"}]
        case _:
            content = body["candidates"][0]["content"]
            calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
            more = [{"functionResponse": {**call, "response": {"output": "x"}}} for call in calls]
            for one in more:
                del one["functionResponse"]["args"]
            history = {"contents": [{"role": "user", "parts": [{"text": asked}]}, content]}
            history["contents"] += [{"role": "user", "parts": more or [{"text": "go on"}]}]
    validator = SCHEMAS.format(client, "request")
    assert validator is not None
    assert validator.accepts(history), (validator.explain(history), history)
    decoded: dict[str, Any] = library().formats[client].decode_request(history, context(client, path={"model": "m"}))
    return decoded


def seals(blocks: list[dict[str, Any]], kinds: tuple[str, ...]) -> list[Any]:
    return [block["seal"] for block in blocks if block["type"] in kinds and "seal" in block]


def assistant(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for turn in request["turns"] if turn["role"] == "assistant" for block in turn["blocks"]]


def sent(maker: str, request: dict[str, Any], provider: str, account: str = "acc") -> str:
    """The body that a provider gets, as text."""
    profile = {"reasoning_history": "details", "signed_calls": True}
    ctx = context(maker, provider=provider, account=account, upstream_model="m", profile=profile)
    return dumps(library().formats[maker].encode_request(request, ctx)).decode()


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("maker", FORMATS)
@AFTER
@given(data=st.data())
def test_what_an_answer_sealed_goes_back_to_its_maker_alone(maker: str, client: str, data: st.DataObject) -> None:
    response = data.draw(sealed_answers(maker))
    form = library().formats[client]
    request = brought_back(client, loads(dumps(form.encode_response(response, context(client, body={"model": "m"})))))
    kept = seals(response["blocks"], BEARS[client])
    assert seals(assistant(request), ("reasoning", "tool_call")) == kept
    own, other, stranger = (sent(maker, request, *to) for to in (("own",), ("other",), ("own", "another")))
    for seal in kept:
        # (whoever verifies a seal by an id gets both apart)
        text = seal["data"].rpartition(":")[2]
        assert text in own
        assert close_envelope(seal) not in own
        assert text not in other
        assert text not in stranger
        assert close_envelope(seal) not in other


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("maker", FORMATS)
@AFTER
@given(data=st.data())
def test_a_stream_tells_the_seals_that_the_answer_tells(maker: str, client: str, data: st.DataObject) -> None:
    response = data.draw(sealed_answers(maker))
    form = library().formats[client]
    decoder = StreamDecoder(PIECES, context("pieces"))
    pieces = [{"type": "start", "id": "r1"}, *({"type": "block", "block": block} for block in response["blocks"])]
    clean = decoder.feed([*pieces, {"type": "finish", "reason": "stop"}]) + decoder.end()
    events = loads(dumps(StreamEncoder(form, context(client, body={"model": "m"}, stream=True)).encode(clean)))
    reader = StreamDecoder(form, context(client))
    for event in events:
        reader.feed(event)
    reader.end()
    found = seals(reader.response["blocks"], ("reasoning", "tool_call"))
    assert found == seals(response["blocks"], BEARS[client])


@given(
    st.fixed_dictionaries(
        {"kind": TEXT, "data": st.text()}, optional=dict.fromkeys(("provider", "account", "model", "format"), TEXT)
    )
)
def test_an_envelope_gives_back_what_was_put_into_it(seal: dict[str, str]) -> None:
    wrapped = close_envelope(seal)
    assert open_envelope(wrapped) == seal
    assert open_envelope(base64.b64encode(wrapped.encode()).decode()) == seal
