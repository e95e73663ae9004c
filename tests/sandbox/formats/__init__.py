"""One neutral way to ask in each of the four formats, and to read what came."""

from __future__ import annotations

from .answer import Answer
from .chat import Chat
from .gemini import Gemini
from .messages import Messages
from .responses import Responses

FORMATS = {"chat": Chat, "responses": Responses, "messages": Messages, "gemini": Gemini}

__all__ = ["FORMATS", "Answer"]
