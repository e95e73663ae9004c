"""What is asked in the larger cases."""

from __future__ import annotations

import base64
from typing import Any

PICTURE = base64.b64encode(bytes(range(256)) * 2900).decode()
WORDS = "The gateway answers every request of every client with the words of its own format. "


def tool(number: int) -> dict[str, Any]:
    properties = {
        "city": {"type": "string", "description": "The name of a city"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
    }
    return {
        "type": "function",
        "function": {
            "name": f"weather_{number}",
            "description": "Tells the weather of the next days in a city.",
            "parameters": {"type": "object", "properties": properties, "required": ["city"]},
        },
    }


def conversation(messages: int = 20) -> list[dict[str, Any]]:
    """Turns with tool calls and their results, in Chat's words."""
    found: list[dict[str, Any]] = [{"role": "system", "content": "You are a weather forecaster. Be brief."}]
    while len(found) < messages:
        number = len(found)
        call = {
            "id": f"call_{number:024d}",
            "type": "function",
            "function": {"name": "weather_1", "arguments": '{"city": "Lisbon", "days": 3}'},
        }
        found += [
            {"role": "user", "content": f"And what about day {number}, will it rain in Lisbon?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": '{"rain": 0.2, "high": 21, "low": 14}'},
            {"role": "assistant", "content": "It stays dry, with 21 degrees at noon and a light wind from the west."},
        ]
    return found[:messages]


def with_tools(model: str) -> dict[str, Any]:
    """20 messages and four tools."""
    return {"model": model, "max_tokens": 100, "messages": conversation(), "tools": [tool(n) for n in range(4)]}


def with_picture(model: str) -> dict[str, Any]:
    """1 MB."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    content = [{"type": "text", "text": "What is this?"}, picture]
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


def with_context(model: str) -> dict[str, Any]:
    """About 100,000 tokens of text, in 50 messages."""
    messages = [
        {"role": ("user", "assistant")[number % 2], "content": WORDS * 95 + str(number)} for number in range(51)
    ]
    return {"model": model, "max_tokens": 100, "messages": messages}
