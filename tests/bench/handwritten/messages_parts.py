"""Messages requests out: what a message is made of."""

from __future__ import annotations

from typing import Any, Final

import orjson

from nexeon.mapping.functions import FILTERS
from nexeon.mapping.missing import MISSING
from nexeon.mapping.seals import break_seal
from nexeon.wire.json import is_object
from tests.bench.handwritten.parts import Map, Refused, empty, fitting, lose, own

NAME: Final = "anthropic.messages"
_PLACES: Final = {
    "char": ("char_location", "start_char_index", "end_char_index", 0),
    "page": ("page_location", "start_page_number", "end_page_number", 1),
    "block": ("content_block_location", "start_block_index", "end_block_index", 0),
}


def content_of(blocks: list[Map], ctx: Map) -> list[Map]:
    parts = []
    for block in blocks:
        part = part_of(block, ctx)
        if part is not None:
            parts.append(part)
    return parts


def part_of(block: Map, ctx: Map) -> Map | None:
    kind = block["type"]
    if kind == "text" or kind == "refusal":
        text = block["text"]
        if not text.strip():  # which the API refuses
            return None
        part: Map = {"type": "text", "text": text}
        if "citations" in block and (cited := _locations(block["citations"] or (), ctx)):
            part["citations"] = cited
    elif kind == "tool_call":
        part = {"type": "tool_use", "id": fitting(block["call_id"], 64), "name": fitting(block["name"], 128)}
        part["input"] = _input(block)
    elif kind == "tool_result":
        inner = content_of(block.get("blocks") or (), ctx)
        part = {"type": "tool_result", "tool_use_id": fitting(block["call_id"], 64)}
        if inner:
            part["content"] = inner
        elif block.get("error"):
            part["content"] = "error"
        if "error" in block:
            part["is_error"] = block["error"]
    elif kind == "image":
        part = {"type": "image", "source": _image_source(block["source"], block)}
    elif kind == "reasoning":
        return _thought(block, ctx)
    elif kind == "document":
        made = _document(block, ctx)
        if made["type"] == "image":
            return made
        part = made
    elif kind == "opaque":
        if block["format"] == NAME:
            return block["data"]
        lose(ctx, f"a block of {block['format']}", block)
        return None
    elif kind == "audio":
        if type(said := block.get("transcript")) is str:
            return {"type": "text", "text": said}
        raise Refused("audio cannot be given to this model", block)
    elif kind == "video":
        raise Refused("video cannot be given to this model", block)
    elif kind == "server_tool_call" or kind == "server_tool_result":
        raise NotImplementedError("what a provider ran itself")
    else:
        raise Refused(f"unsupported block {kind!r}", block)
    if "cache" in block:
        mark(block, part)
    if "extra" in block:
        part.update(own(block, NAME))
    return part


def mark(marked: Map, made: Map) -> None:
    found = marked["cache"]
    if type(found) is dict:
        made["cache_control"] = {"type": "ephemeral", "ttl": found["ttl"]} if "ttl" in found else {"type": "ephemeral"}


def _input(block: Map) -> Any:
    arguments = block["arguments"]
    if block.get("kind") == "custom":
        return {"input": arguments}
    if arguments.strip() in ("", "[]", "null"):  # as some clients say that there are none
        return {}
    if is_object(arguments):
        return orjson.Fragment(arguments.replace("\r", " ").replace("\n", " "))
    return {"arguments": arguments}


def _image_source(source: Map, block: Map) -> Map:
    kind = source["kind"]
    if kind == "base64":
        made = {"type": kind}
        for key in ("media_type", "data"):
            if key in source:
                made[key] = source[key]
        return made
    if kind == "url":
        return {"type": kind, "url": source["url"]}
    if kind == "file":
        return {"type": kind, "file_id": source["file_id"]}
    raise Refused(f"unsupported source {kind!r}", block)


def _document(block: Map, ctx: Map) -> Map:
    source = block["source"]
    kind = source["kind"]
    mine = own(block, NAME)
    if mine.get("type") == "search_result":
        title = block.get("title")
        part: Map = {"type": "search_result", "title": "" if title is None else title}
        part["content"] = content_of(source.get("blocks") or [], ctx)
        if type(block.get("citations")) is bool:
            part["citations"] = {"enabled": block["citations"]}
        return part
    media = source.get("media_type")
    if kind != "text" and type(media) is str and media.startswith("image/"):
        made: Map = {"type": "image", "source": _image_source(source, block)}
        if "cache" in block:
            mark(block, made)
        return made
    part = {"type": "document", "source": _document_source(source, block, ctx)}
    for key in ("title", "filename"):
        if key in block:
            part["title"] = block[key]
            break
    if "context" in block:
        part["context"] = block["context"]
    if type(block.get("citations")) is bool:
        part["citations"] = {"enabled": block["citations"]}
    return part


def _document_source(source: Map, block: Map, ctx: Map) -> Map:
    kind = source["kind"]
    if kind == "text":
        return {"type": "text", "media_type": "text/plain", "data": source["data"]}
    if kind == "blocks":
        return {"type": "content", "content": content_of(source["blocks"], ctx)}
    if kind != "base64":
        return _image_source(source, block)
    media = source.get("media_type")
    if type(media) is str and media != "application/pdf":
        plain = FILTERS["unbase64"](source["data"])
        if plain is MISSING:
            raise Refused(f"a document of type {media} cannot be given to this model", source)
        return {"type": "text", "media_type": "text/plain", "data": plain}
    return {"type": "base64", "media_type": "application/pdf", "data": source["data"]}


def _thought(block: Map, ctx: Map) -> Map | None:
    """Thinking that this provider signed."""
    seal = block.get("seal")
    proof = break_seal(seal, ("signature", "redacted"), ctx) if seal is not None else MISSING
    kind = seal.get("kind") if proof is not MISSING and type(seal) is dict else None
    if kind == "redacted":
        return {"type": "redacted_thinking", "data": proof}
    if kind == "signature":
        text = block["text"] if "text" in block else "".join(block.get("summary") or ())
        return {"type": "thinking", "thinking": text, "signature": proof, **own(block, NAME)}
    lose(ctx, "reasoning that this provider cannot read", block)
    return None


def thinks_first(message: Map) -> bool:
    return message["content"][0].get("type") in ("thinking", "redacted_thinking")


def _locations(citations: list[Map], ctx: Map) -> list[Map]:
    made = []
    for one in citations:
        if one.get("kind") == "url" and empty(one.get("encrypted_index")):
            continue
        place = _location(one)
        if place is None:
            lose(ctx, f"a citation of a {one.get('kind')}", one)
        else:
            made.append(place)
    return made


def _location(citation: Map) -> Map | None:
    def told(key: str, otherwise: Any) -> Any:
        found = citation.get(key)
        return otherwise if found is None else found

    kind = citation.get("kind")
    if kind in _PLACES:
        name, start, end, first = _PLACES[kind]
        return {
            "type": name,
            "cited_text": told("text", ""),
            "document_index": told("document", 0),
            "document_title": told("document_title", None),
            start: told("start", first),
            end: told("end", first),
        }
    if kind == "url":
        return {
            "type": "web_search_result_location",
            "url": told("url", ""),
            "title": told("title", None),
            "cited_text": told("text", ""),
            "encrypted_index": told("encrypted_index", ""),
        }
    if kind == "search":
        return {
            "type": "search_result_location",
            "source": told("source", ""),
            "title": told("title", None),
            "cited_text": told("text", ""),
            "search_result_index": told("search_result", 0),
            "start_block_index": told("start", 0),
            "end_block_index": told("end", 0),
        }
    return None
