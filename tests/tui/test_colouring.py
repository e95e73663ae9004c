"""JSON's colours are those of Textual's own highlighting."""

from __future__ import annotations

import json
from typing import Any

import pytest
from textual.content import Content
from textual.highlight import highlight

from tui.widgets.colouring import coloured

VALUES: tuple[Any, ...] = (
    {"a": "b", "n": [1, -2.5, 1e-7, 1.5e300, 0], "t": [True, False, None], "empty": {}, "none": [], "": ""},
    {'a "quoted" name: ': 'a\n\t"text": \\" with \\ and {1, true}', "日本": "語 – é", "12": "null"},
    [[["deep"]], "true", {"true": "false"}],
    "text",
    12,
    None,
)


def painted(content: Content) -> list[tuple[str, str]]:
    """Each character with the style that is its last one."""
    styles = ["" for _ in content.plain]
    for start, end, style in content.spans:
        styles[start:end] = [str(style)] * (end - start)
    return list(zip(content.plain, styles, strict=True))


@pytest.mark.parametrize("value", VALUES)
def test_a_document_and_each_line_of_it_are_as_textual_has_them(value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    for part in (text, *text.split("\n"), json.dumps(value)):
        assert painted(coloured(part)) == painted(highlight(part, language="json"))


def test_nothing_is_nothing() -> None:
    assert coloured("") == Content("")
