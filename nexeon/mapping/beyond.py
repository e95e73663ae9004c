"""What a whole answer, told as its stream ends, says beyond what was streamed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from nexeon.mapping.blocks import OpenBlock

Content = dict[str, Any]
Found = tuple[int, OpenBlock | None, Content]


def beyond(blocks: list[OpenBlock], whole: list[Content]) -> Iterator[tuple[OpenBlock | None, Content]]:
    """In the whole's order, the contents that are new (None), and those that a block has, which may lack some of it.

    Texts are one text, whatever they were cut into: what it says after the streamed one is new, and nothing where it
    contradicts that. Other blocks are the same if they have the same id, else if they stand in the same order.
    """
    told: dict[str, list[tuple[int, Content]]] = {}
    for number, content in enumerate(whole):
        told.setdefault(content.get("type", ""), []).append((number, content))
    found: list[Found] = []
    for kind, contents in told.items():
        known = [block for block in blocks if block.type == kind]
        found += _texts(known, contents) if kind in ("text", "refusal") else _others(known, contents)
    for _, block, content in sorted(found, key=lambda one: one[0]):
        yield block, content


def _texts(known: list[OpenBlock], told: list[tuple[int, Content]]) -> Iterator[Found]:
    told = [(number, content) for number, content in told if type(content.get("text")) is str]
    streamed = "".join(text for block in known for text in block.text)
    if not "".join(content["text"] for _, content in told).startswith(streamed):
        return
    begin = 0
    for (number, content), block in zip_longest(told, known[: len(told)]):
        text = content["text"]
        end = begin + len(text)
        if begin < len(streamed) < end:
            last = known[-1]
            if last.is_open and "".join(last.text) == streamed[begin:]:
                yield number, last, content
            else:  # places in it count from its beginning
                content = {name: value for name, value in content.items() if name not in ("citations", "logprobs")}
                yield number, None, {**content, "text": text[len(streamed) - begin :]}
        elif end > len(streamed):
            yield number, None, content
        elif block is not None and "".join(block.text) == text:
            yield number, block, content
        begin = end


def _others(known: list[OpenBlock], told: list[tuple[int, Content]]) -> Iterator[Found]:
    named: dict[str, OpenBlock] = {}
    for one in known:
        named |= dict.fromkeys(_ids(one.head), one)
    pairs = [
        (number, content, next((named[id] for id in _ids(content) if id in named), None)) for number, content in told
    ]
    same = {block.index for _, _, block in pairs if block is not None}
    left = iter([block for block in known if block.index not in same])
    for number, content, block in pairs:
        yield number, block or next(left, None), content


def _ids(content: Content) -> list[str]:
    return [content[name] for name in ("call_id", "id") if type(content.get(name)) is str]
