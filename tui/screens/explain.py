"""What becomes of a request at each target: what would be sent, what would be lost, and where that is said."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Paste
from textual.highlight import highlight
from textual.widgets import Input, Static, TextArea

from tui.screens.opened import OpenedScreen
from tui.screens.pick import pick_for
from tui.widgets.field import Field, FieldLine
from tui.widgets.tabs import TabLine

_PROMPT = "Name three rivers."
_FORMATS = "formats"


class ExplainScreen(OpenedScreen):
    """Paste a client's request and press ctrl+s: nothing is sent to anybody. Each target has a tab."""

    AUTO_FOCUS = ""
    BINDINGS = [
        Binding("ctrl+s", "explain", "Explain", priority=True),
        Binding("e", "edit", "Edit the request"),
        Binding("ctrl+o", "pick", "Pick"),
        Binding("escape", "leave_editor", "Back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._model = ""
        self._shown = ""
        """The example that stands there, unless somebody has put something else in its place."""
        self._targets: Sequence[dict[str, Any]] = ()

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="explain"):
            with Vertical(id="asked", classes="panel") as asked:
                asked.border_title = "A client's request"
                with Horizontal(classes="line"):
                    yield Input(placeholder="model", id="model", compact=True)
                    format = FieldLine()
                    format.id = "format"
                    yield format
                yield TextArea("", language="json", id="request", compact=True)
            with Vertical(id="becomes", classes="panel") as becomes:
                becomes.border_title = "What each target would get"
                yield Static("Press ctrl+s to see what becomes of the request.", id="hint", markup=False)
                yield TabLine(id="targets")
                with VerticalScroll(id="told"):
                    yield Static()

    def open(self, model: str) -> None:
        self._model = model
        self.renew()

    def begin(self) -> None:
        self._shown = self.query_one("#request", TextArea).text = ""
        self.query_one("#model", Input).value = self._model
        self._offer(self.admin.known.get(_FORMATS, ()))
        self._show(())

    def end(self) -> None:
        self.query_one("#request", TextArea).text = ""
        self._show(())

    def start(self) -> None:
        super().start()
        if not self.opened:
            self.ahead()

    def load(self) -> None:
        if not self._format.answer:
            self.ahead()
        elif self.query_one("#request", TextArea).text:
            self.action_explain()
        else:
            self._example()
            self.call_after_refresh(self.ahead)  # there may be others meanwhile

    def ahead(self) -> None:
        self.ask(_FORMATS, "playground.list")

    def _offer(self, formats: Sequence[str], chosen: str = "") -> None:
        choices = [(each, each) for each in formats]
        self._format.ask(Field("format", "Format", chosen, kind="choice", choices=choices))

    @property
    def _format(self) -> FieldLine:
        return self.query_one("#format", FieldLine)

    def answered(self, job: str, result: Any) -> None:
        match job:
            case "formats":
                formats = [each["id"] for each in result["items"]]
                if formats != self.admin.known.get(_FORMATS) or not self._format.answer:
                    self.admin.known[_FORMATS] = formats
                    self._offer(formats, self._format.answer)
                    if self.opened:
                        self._example()
            case "example":
                self._shown = json.dumps(result["body"], indent=2, ensure_ascii=False)
                self.query_one("#request", TextArea).text = self._shown
                self.action_explain()
            case "explain":
                self._show(result)

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

    def _show(self, targets: Sequence[dict[str, Any]]) -> None:
        """What each would get; the one that is looked at stays so."""
        tabs = self.query_one(TabLine)
        before, names = [_name(target) for target in self._targets], [_name(target) for target in targets]
        self._targets = targets
        self.query_one("#hint").display = not targets
        tabs.display = self.query_one("#told").display = bool(targets)
        titles = [f"{_sign(target)} {name}" for target, name in zip(targets, names, strict=True)]
        tabs.show(titles, tabs.active if names == before else 0)
        self._look_at(tabs.active)

    @on(TabLine.Chosen)
    def _chosen(self, message: TabLine.Chosen) -> None:
        self._look_at(message.at)

    def _look_at(self, at: int) -> None:
        """Only what is looked at is made."""
        pane = self.query_one("#told")
        pane.query_one(Static).update(self._told(self._targets[at]) if self._targets else "")
        pane.scroll_home(animate=False)

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


def _name(target: dict[str, Any]) -> str:
    return f"{target['provider']} {target['format']}"


def _sign(target: dict[str, Any]) -> str:
    return "✖" if target["refusal"] else "▲" if target["dropped"] else "✔"
