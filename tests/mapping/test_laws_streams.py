"""Laws of streams: however an answer is cut and its blocks are interleaved, the stream says what the answer says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.mapping import StreamDecoder, StreamEncoder
from nexeon.mapping.format import Format
from nexeon.mapping.source import parse
from nexeon.wire.json import dumps, loads
from tests.mapping import canonical
from tests.mapping.laws import AFTER, ARGUMENTS, FORMATS, SOURCES, TEXT, context, library

Block = dict[str, Any]
Piece = dict[str, Any]
STREAMED = ("text", "arguments", "summary", "citations", "seal")
SEALS = st.builds(
    lambda provider, format, kind, data: {
        "provider": provider, "account": "acc", "model": "m", "format": format, "kind": kind, "data": data,
    },
    canonical.WORDS, st.sampled_from(FORMATS),
    st.sampled_from(["signature", "encrypted_content", "thought_signature"]), TEXT,
)  # fmt: skip
USAGE = st.fixed_dictionaries(
    {"input": canonical.NUMBERS, "output": canonical.NUMBERS},
    optional={"cached_input": canonical.NUMBERS, "reasoning": st.integers(0, 100_000)},
)


@st.composite
def citations(draw: st.DrawFn, text: str) -> list[dict[str, Any]]:
    """Of pages, each with its place in the text."""
    found = []
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(text)))
        found.append(
            {
                "kind": "url",
                "url": f"https://example.com/{draw(canonical.WORDS)}",
                "title": draw(canonical.WORDS),
                "start": start,
                "end": draw(st.integers(start, len(text))),
            }
        )
    return found


@st.composite
def blocks(draw: st.DrawFn) -> list[Block]:
    """What an answer may hold, in the order that every format can tell."""
    made: list[Block] = []
    if draw(st.booleans()):
        thought = draw(st.sampled_from(["text", "summary"]))
        said = draw(TEXT) if thought == "text" else draw(st.lists(TEXT, min_size=1, max_size=2))
        made.append({"type": "reasoning", thought: said})
        if draw(st.booleans()):
            made[-1]["seal"] = draw(SEALS)
    for number in range(draw(st.integers(0, 2))):
        call = {"type": "server_tool_call", "call_id": f"srv_{number}", "name": "mcp", "tool": draw(canonical.WORDS)}
        result = {"type": "server_tool_result", "call_id": f"srv_{number}", "name": "mcp"}
        result["blocks"] = [{"type": "text", "text": draw(TEXT)}]
        if draw(st.booleans()):
            result["error"] = "error"
        made += [{**call, "server": draw(canonical.WORDS), "arguments": draw(ARGUMENTS)}, result]
    if draw(st.booleans()):
        text = draw(TEXT)
        made.append({"type": "text", "text": text})
        if cited := draw(citations(text)):
            made[-1]["citations"] = cited
    if "citations" not in (made[-1] if made else {}) and draw(st.booleans()):
        made.append({"type": "refusal", "text": draw(TEXT)})
    if draw(st.booleans()):
        made.append({"type": "image", "source": draw(SOURCES)})
    for number in range(draw(st.integers(0 if made else 1, 3))):
        call = {"type": "tool_call", "call_id": f"call_{number}", "name": draw(canonical.WORDS)}
        made.append({**call, "arguments": draw(ARGUMENTS)})
        if draw(st.booleans()):
            made[-1]["seal"] = draw(SEALS.filter(lambda seal: seal["kind"] == "thought_signature"))
    return made


@st.composite
def parts(draw: st.DrawFn, text: str) -> list[str]:
    """A text, cut anywhere and as often as one likes."""
    cuts = sorted(draw(st.sets(st.integers(1, max(len(text) - 1, 1)), max_size=5)))
    places = [0, *cuts, len(text)]
    return [part for start, end in itertools.pairwise(places) if (part := text[start:end])]


@st.composite
def told(draw: st.DrawFn, key: int, block: Block) -> list[Piece]:
    """A block as its pieces; what a tool of the provider's gave and pictures come whole."""
    if block["type"] in ("server_tool_result", "image"):
        return [{"type": "block", "key": key, "block": block}]
    head = {name: value for name, value in block.items() if name not in STREAMED}
    queue: list[Piece] = [{"type": "open", "key": key, "block": head}]
    for field in ("text", "arguments"):
        if field in block:
            queue += [{"type": "delta", "key": key, field: part} for part in draw(parts(block[field]))]
    for number, summary in enumerate(block.get("summary", ())):
        queue += [{"type": "delta", "key": key, "summary": part, "part": number} for part in draw(parts(summary))]
    queue += [{"type": "delta", "key": key, "citation": one} for one in block.get("citations", ())]
    if "seal" in block:
        queue.append({"type": "delta", "key": key, "seal": block["seal"]})
    return [*queue, {"type": "close", "key": key}]


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Piece], dict[str, Any]]:
    """An answer as pieces that a provider may send (blocks overlap, in any interleaving; texts are cut anywhere; usage
    comes more than once, pings at any time), and as a whole."""
    content = draw(blocks())
    kinds = {block["type"] for block in content}
    reason = "tool_calls" if "tool_call" in kinds else draw(st.sampled_from(["stop", "length"]))
    if reason == "stop" and "refusal" in kinds and "text" not in kinds:
        reason = "refusal"
    response: dict[str, Any] = {"id": "r1", "model": "model", "created": 1_790_000_000, "blocks": content}
    response |= {"finish": {"reason": reason}, "usage": draw(USAGE)}
    waiting = [draw(told(key, block)) for key, block in enumerate(content)]
    running: list[list[Piece]] = []
    pieces: list[Piece] = [{"type": "start", **{name: response[name] for name in ("id", "model", "created")}}]
    while waiting or running:
        # a result comes after its call, and blocks begin in their order
        begins = waiting and (waiting[0][0]["block"]["type"] != "server_tool_result" or not running)
        if begins and (not running or draw(st.booleans())):
            queue = waiting.pop(0)
            running.append(queue)
        else:
            queue = draw(st.sampled_from(running))
        pieces.append(queue.pop(0))
        running = [one for one in running if one]
        extra = draw(st.sampled_from([None, None, None, None, "ping", "usage"]))
        if extra is not None:
            pieces.append({"type": "ping"} if extra == "ping" else {"type": "usage", "usage": {"output": 1}})
    pieces += [{"type": "usage", "usage": response["usage"]}, {"type": "finish", "reason": reason}]
    return pieces, response


PIECES = Format(
    parse(
        """
format: pieces
wire: {request: {path: /x}}
request: {decode: {}, encode: {}}
response: {decode: {}, encode: {}}
stream: {decode: "{{ event }}", encode: {}}
error: {decode: {}, encode: {}}
""",
        "pieces.yaml",
    )
)


@pytest.mark.parametrize("name", FORMATS)
@AFTER
@given(both=answers())
def test_a_stream_folds_to_the_answer(name: str, both: tuple[list[Piece], dict[str, Any]]) -> None:
    pieces, response = both
    form = library().formats[name]
    body = {"model": "model", "stream": True, "stream_options": {"include_usage": True}}
    decoder = StreamDecoder(PIECES, context("pieces"))
    encoder = StreamEncoder(form, context(name, stream=True, body=body))
    again = StreamDecoder(form, context(name))
    for piece in pieces:
        for event in loads(dumps(encoder.encode(decoder.feed(piece)))):
            again.feed(event)
    assert decoder.response == response
    for event in loads(dumps(encoder.encode(decoder.end()))):
        again.feed(event)
    again.end()
    assert (again.finished, again.failed) == (True, None)
    whole = form.decode_response(loads(dumps(form.encode_response(response, context(name, body=body)))), context(name))
    assert bare(name, again.response) == bare(name, whole)


def bare(name: str, response: dict[str, Any]) -> dict[str, Any]:
    """What was answered, without the items' ids."""
    blocks = [
        {key: value for key, value in block.items() if key not in ("id", "extra")} for block in response["blocks"]
    ]
    for block in blocks:  # a tool of the provider's that was asked nothing
        if block["type"] == "server_tool_call" and block.get("arguments") == "{}":
            del block["arguments"]
    if name == "gemini.generate_content":  # texts know no end of their own in a stream
        runs = [list(run) for _, run in itertools.groupby(blocks, lambda block: block["type"] == "text")]
        blocks = [one for run in runs for one in ([joined(run)] if run[0]["type"] == "text" else run)]
    if name == "openai.chat":  # a message has one text of each kind, which others may interrupt; a summary has no parts
        for kind in ("reasoning", "text", "refusal", "image", "tool_call"):
            same = [block for block in blocks if block["type"] == kind]
            merged = [joined(same)] if kind in ("reasoning", "text", "refusal") and same else same
            blocks = [*(block for block in blocks if block["type"] != kind), *merged]
    return {"blocks": blocks, "reason": response["finish"]["reason"], "usage": response.get("usage")}


def joined(blocks: list[Block]) -> Block:
    """Texts as one."""
    whole = {name: value for block in blocks for name, value in block.items()}
    for field in ("text", "summary"):
        if field in whole:
            whole[field] = "".join("".join(block[field]) for block in blocks if field in block)
    if "citations" in whole:
        whole["citations"] = [citation for block in blocks for citation in block.get("citations", ())]
    return whole
