"""A record in full: thousands of lines, long ones and wide ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import FakeService
from pilots import Open, press
from textual.strip import Strip

from tui import show
from tui.widgets.lines import Lines


async def test_a_long_record_is_drawn_where_it_is_looked_at(open_app: Open, fake: FakeService) -> None:
    models = {
        f"model-{number}": {"price": {"input": "1.00"}, "targets": [{"provider": "alpine"}]} for number in range(500)
    }
    record = {"name": "日本" * 60 + " end", "note": "first\nsecond", "on": True, "none": None, "models": models}
    fake.answers["configuration.show"] = lambda params: record
    async with open_app(size=(80, 24)) as pilot:
        await press(pilot, "5", "c")
        lines = pilot.app.screen.query_one(Lines)

        def shown() -> list[str]:
            return [lines.render_line(y).text.strip() for y in range(lines.scrollable_content_region.height)]

        top = shown()
        assert top[0].startswith("name")
        assert top[0].count("日本") < 60, "what is too long goes on below"
        assert sum(line.count("日") for line in top) == 60
        assert any(line.endswith(" end") for line in top)
        assert top[4:8] == ["note    first", "second", "on      true", "none    –"]
        assert len(lines._rows) > 500 * 10
        assert len(lines._coloured) < 100, "the rest is coloured when it is looked at"
        await press(pilot, "G")
        assert shown()[-1] == "}"
        assert '"model-499": {' in shown()
        await press(pilot, "g", "j")
        assert shown()[:-1] == top[1:]


async def test_a_record_is_there_as_soon_as_its_screen(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    render_line = Lines.render_line

    def drawing(lines: Lines, y: int) -> Strip:
        line = render_line(lines, y)
        drawn.append(line.text)
        return line

    monkeypatch.setattr(Lines, "render_line", drawing)
    async with open_app() as pilot:
        await press(pilot, "5", "enter")
        assert drawn[0].startswith("id ")


@pytest.mark.parametrize(
    "value", [{}, [], {"a": [1, 2.5, None, True, {"é\n日": ""}], "b": {}, "c": []}, {"big": 2**70}, {1: 2}]
)
def test_json_is_indented_as_python_does_it(value: Any) -> None:
    assert show.indented(value) == json.dumps(value, indent=2, ensure_ascii=False)
