"""A store that another terminal, or another browser tab, works on by itself."""

from __future__ import annotations

import os
from pathlib import Path

from pilots import call, press, terminal
from textual.widgets import Static

from nexeon.admin import AdminClient, connect


async def test_who_holds_it_is_named_and_it_is_found_free_again(tmp_path: Path) -> None:
    async def near() -> AdminClient:
        return await connect(f"tinydb:{tmp_path}", actor="tui", wait=0)

    async with terminal(near) as second:
        await second.app.link.close()  # type: ignore[attr-defined]
        holder = await near()
        await holder.call("accounts.create", name="acme")
        second.app.link = type(second.app.link)(near, lambda: None)  # type: ignore[attr-defined]
        await press(second, "2")
        problem = second.app.screen.query_one("#problem", Static)
        words = str(problem.render())
        assert problem.display
        assert f"held by process {os.getpid()}" in words
        assert "Close that one" in words
        assert "nexeon serve" in words
        await holder.close()
        await press(second, "r")
        assert not problem.display
        assert (await call(second, "accounts.list"))["items"][0]["name"] == "acme"
