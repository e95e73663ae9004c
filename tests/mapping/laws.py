"""What the property tests of the mappings share."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from nexeon.data import data_path
from nexeon.mapping import Library, load_library, new_context
from nexeon.mapping.schemas import Schemas
from nexeon.wire.json import dumps
from tests.mapping import canonical

FORMATS = ("openai.chat", "openai.responses", "anthropic.messages", "gemini.generate_content")
TOKEN = "0123456789abcdef01234567"
SCHEMAS = Schemas(data_path("schemas"))
AFTER = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)


@cache
def library() -> Library:
    return load_library([data_path("mappings")])


def context(form: str, **more: Any) -> dict[str, Any]:
    return new_context(format=form, model="model", token=TOKEN, now=1_790_000_000, **more)


BASE64 = st.binary(min_size=3, max_size=9).map(lambda raw: base64.b64encode(raw).decode())
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1).filter(str.strip)
SOURCES = st.one_of(
    st.builds(lambda word: {"kind": "url", "url": f"https://example.com/{word}.png"}, canonical.WORDS),
    st.builds(lambda data: {"kind": "base64", "media_type": "image/png", "data": data}, BASE64),
)
ARGUMENTS = st.dictionaries(canonical.WORDS, st.one_of(TEXT, canonical.NUMBERS), max_size=2).map(
    lambda value: dumps(value).decode()
)


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
