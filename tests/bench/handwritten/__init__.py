"""The yardstick of the mapping engine: the same hub, written by hand as one would without a mapping language.

Three translations: a Chat request in, a Chat request out, a Messages request out. Each does what the mapping does, for
any request: every field, what is absent, null and empty kept apart, fields that the format does not know carried along,
what a block, a tool or a choice loses reported with its place, refusals that name the place, stand-ins for identifiers,
neighbours merged and put into the order that the format wants. `tests/bench/test_handwritten.py` holds it to every case
beside the mappings. Left out, with NotImplementedError: MCP servers and tools that a provider runs itself, towards
Messages, and schemas that Messages takes only when closed.

It is plain code with no layer between, as one writes it who has speed in mind: each part is looked at once, and what
needs no work is told apart early. It is not tuned beyond what is good to read. What is no translation it takes
from the engine as libraries: seals, stand-ins, data URLs, JSON.
"""

from __future__ import annotations

from tests.bench.handwritten.chat_in import decode_chat
from tests.bench.handwritten.chat_out import encode_chat
from tests.bench.handwritten.messages_out import encode_messages
from tests.bench.handwritten.parts import Refused

__all__ = ["Refused", "decode_chat", "encode_chat", "encode_messages"]
