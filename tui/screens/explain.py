"""What becomes of a request at each target: what would be sent, what would be lost, and where that is said."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Paste
from textual.highlight import highlight
from textual.message import Message
from textual.widgets import Input, Static, TabbedContent, TabPane, TextArea

from tui.screens.base import AdminScreen
from tui.screens.pick import pick_for
from tui.widgets.field import Field, FieldLine

_PROMPT = "Name three rivers."


class Explained(Message):
    """What each target would get."""

    def __init__(self, targets: list[dict[str, Any]]) -> None:
        super().__init__()
        self.targets = targets


class ExplainScreen(AdminScreen[None]):
    """Paste a client's request and press ctrl+s: nothing is sent to anybody. Each target has a tab."""

    AUTO_FOCUS = "#targets"
    BINDINGS = [
        Binding("ctrl+s", "explain", "Explain", priority=True),
        Binding("e", "edit", "Edit the request"),
        Binding("ctrl+o", "pick", "Pick"),
        Binding("escape", "leave_editor", "Back", show=False),
    ]

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model
        self._shown = ""
        """The example that stands there, unless somebody has put something else in its place."""

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="explain"):
            with Vertical(id="asked", classes="panel") as asked:
                asked.border_title = "A client's request"
                with Horizontal(classes="line"):
                    yield Input(self._model, placeholder="model", id="model", compact=True)
                    format = FieldLine()
                    format.id = "format"
                    format.ask(Field("format", "Format", kind="choice"))
                    yield format
                yield TextArea("", language="json", id="request", compact=True)
            with Vertical(id="becomes", classes="panel") as becomes:
                becomes.border_title = "What each target would get"
                yield Static("Press ctrl+s to see what becomes of the request.", id="hint", markup=False)

    def load(self) -> None:
        if self._format.answer:
            self.action_explain()
        else:
            self.ask("formats", "playground.list")

    @property
    def _format(self) -> FieldLine:
        return self.query_one("#format", FieldLine)

    def answered(self, job: str, result: Any) -> None:
        match job:
            case "formats":
                choices = [(each["id"], each["id"]) for each in result["items"]]
                self._format.ask(Field("format", "Format", kind="choice", choices=choices))
                self._example()
            case "example":
                self._shown = json.dumps(result["body"], indent=2, ensure_ascii=False)
                self.query_one("#request", TextArea).text = self._shown
                self.action_explain()
            case "explain":
                self.post_message(Explained(result))

    @on(Input.Changed, "#format")
    def _example(self) -> None:
        """The same prompt in that format, to begin with; what somebody has written or pasted stays."""
        if self.query_one("#request", TextArea).text != self._shown:
            self.action_explain()
        elif (chosen := self._format.answer) and self._model:
            self.ask("example", "playground.compose", format=chosen, model=self._model, prompt=_PROMPT, max_tokens=1000)

    def on_paste(self, event: Paste) -> None:
        """Where nothing is edited, a request that is pasted takes the place of the one that stands there, for the model
        that it names."""
        if isinstance(self.focused, Input | TextArea):
            return
        event.stop()
        self.query_one("#request", TextArea).text = event.text
        with contextlib.suppress(ValueError, LookupError, TypeError):
            if isinstance(named := json.loads(event.text)["model"], str):
                self.query_one("#model", Input).value = named
        self.action_explain()

    @on(Explained)
    async def _show(self, message: Explained) -> None:
        message.stop()
        self.query_one("#hint").display = not message.targets
        tabs = TabbedContent(id="targets")
        for number, target in enumerate(message.targets, 1):
            sign = "✖" if target["refusal"] else "▲" if target["dropped"] else "✔"
            title = Content(f"{sign} {target['provider']} {target['format']}")
            tabs.compose_add_child(TabPane(title, VerticalScroll(Static(self._told(target))), id=f"target-{number}"))
        # All at once, and not pane after pane, in the midst of which somebody could leave.
        await self.query(TabbedContent).remove()
        if self.is_running:
            self.query_one("#becomes").mount(tabs)

    def _told(self, target: dict[str, Any]) -> Content:
        lines = []
        if target["refusal"]:
            lines.append(Content.styled(f"✖ {target['refusal']}", "$error"))
            if target["line"]:
                lines.append(Content.styled(f"  {target['line']}", "dim"))
            return Content("\n").join(lines)
        how = "goes through as it is, but for the patches below" if target["piped"] else "is translated"
        lines.append(Content.assemble((target["url"], "bold"), (f"  {how}", "dim")))
        lines += [Content(f"{name}: {value}") for name, value in target["headers"].items()]
        lines += [Content.styled(f"~ {patch}", "$secondary") for patch in target["patches"]]
        known = {loss["name"]: loss["line"] for loss in target.get("losses", ())}
        for name in target["dropped"]:
            lines.append(Content.assemble((f"▲ dropped {name}", "$warning"), (f"  {known.get(name, '')}", "dim")))
        body = json.dumps(target["body"], indent=2, ensure_ascii=False)
        return Content("\n").join([*lines, Content(""), highlight(body, language="json")])

    def action_explain(self) -> None:
        model, chosen = self.query_one("#model", Input).value.strip(), self._format.answer
        try:
            request = json.loads(self.query_one("#request", TextArea).text)
        except ValueError as error:
            self.notify(f"The request is not JSON: {error}", severity="error", markup=False)
            return
        if not chosen or not model:
            self.notify("Name a model and a format first", severity="warning")
            return
        self.ask("explain", "explain", model=model, format=chosen, request=request)

    def action_edit(self) -> None:
        self.query_one("#request").focus()

    def action_pick(self) -> None:
        pick_for(self._format, self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "pick":
            return isinstance(self.focused, FieldLine)
        return super().check_action(action, parameters)

    def action_leave_editor(self) -> None:
        if isinstance(self.focused, Input | TextArea):
            self.set_focus(None)
        else:
            self.admin.action_back_only()
