"""Playground: a prompt to a model in any client format, and its answer as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import ContentSwitcher, Input, Log, Select, Static, TextArea

from nexeon.errors import NexeonError
from tui import show
from tui.asking import Began, Ended, Heard, ask
from tui.screens.base import LOAD, AdminScreen
from tui.screens.form import Form
from tui.widgets.field import Field

LIFE: Final = 3600
"""Seconds that a key made for the playground is good for."""

_RENDER: Final = 0.2
_LONGEST: Final = 900_000
_ACCOUNTS: Final = 50
_PROMPT: Final = "Name three rivers, and what each is known for."


class Told(Message):
    """Something of the answer came. Nothing of it is state: the screen's handlers own that."""

    def __init__(self, number: int, what: Began | Heard | Ended) -> None:
        super().__init__()
        self.number = number
        self.what = what


class PlaygroundScreen(AdminScreen[None]):
    """Asks the gateway as a client would, with a client's key: one you paste, or one made for an hour on an account of
    yours. `v` changes between the answer as it reads and the bytes as they came."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "send", "Send", priority=True),
        Binding("i", "edit", "Write"),
        Binding("v", "view", "Raw / rendered"),
        Binding("s", "stream", "Stream on/off", show=False),
        Binding("x", "cancel", "Cancel"),
        Binding("y", "key", "Key"),
        Binding("escape", "leave_editor", "Leave the field", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._key = ""
        self._stream = True
        self._number = 0
        self._asked: dict[str, Any] = {}
        self._status = 0
        self._raw = ""
        self._receiving = False
        self._broken = ""
        """Why no more came of the answer than what there is."""
        self._drawn = 0
        self._facts: dict[str, str] = {}
        self._wanted_model = ""

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="play"):
            with Vertical(id="ask", classes="panel") as asked:
                asked.border_title = "Ask"
                with Horizontal(classes="line"):
                    yield Select[str]([], prompt="client format", id="format", compact=True)
                yield Input(placeholder="model", id="model", compact=True)
                yield Input(placeholder="instructions, if any", id="system", compact=True)
                yield TextArea(_PROMPT, id="prompt", compact=True)
                yield Static(id="with", markup=False)
            with Vertical(id="answer", classes="panel") as answer:
                answer.border_title = "Answer"
                yield Static("Press i to write a prompt, ctrl+s to send it.", id="state", markup=False)
                with ContentSwitcher(initial="rendered", id="views"):
                    with VerticalScroll(id="rendered"):
                        yield Static(id="said", markup=False)
                    yield Log(id="raw")

    def load(self) -> None:
        self.ask(LOAD, "playground.list", patient=True)
        self.ask("models", "models.list", patient=True, limit=1000)
        self._show_with()

    def seek(self, wanted: str) -> None:
        self._wanted_model = wanted
        self.query_one("#model", Input).value = wanted

    def answered(self, job: str, result: Any) -> None:
        match job:
            case "load":
                self._offer([each["id"] for each in result["items"]])
            case "models":
                self._suggest([each["id"] for each in result["items"]])
            case "accounts":
                self._ask_for_key([each["name"] for each in result["items"] if not each["disabled"]])
            case "key":
                self._key = result["key"]
                self._show_with()
                self.action_send()
            case "compose":
                self._send(result | {"url": reached(result["url"], self.admin.link.place)})
            case "read":
                self._show_answer(result)

    def refused(self, job: str, error: NexeonError) -> None:
        if job == "compose":
            self._say(Content.styled(f"✖ {error}", "$error"))

    # What is asked

    def _offer(self, names: list[str]) -> None:
        chosen = self.query_one("#format", Select)
        before = None if chosen.is_blank() else chosen.value
        chosen.set_options([(name, name) for name in names])
        if names:
            chosen.value = before if before in names else names[0]

    def _suggest(self, names: list[str]) -> None:
        field = self.query_one("#model", Input)
        field.suggester = SuggestFromList(names, case_sensitive=False)
        if not field.value and names:
            field.value = self._wanted_model or names[0]

    def _show_with(self) -> None:
        key = f"key …{self._key[-4:]}" if self._key else "no key yet: y gives one"
        self.query_one("#with", Static).update(f"{'a stream' if self._stream else 'one answer'} (s) · {key}")

    def action_send(self) -> None:
        chosen, model = self.query_one("#format", Select), self.query_one("#model", Input).value.strip()
        prompt = self.query_one("#prompt", TextArea).text
        if chosen.is_blank() or not model or not prompt.strip():
            self.notify("A format, a model and a prompt are needed", severity="warning")
        elif not self._key:
            self.action_key()
        else:
            self._asked = {"format": str(chosen.value), "model": model, "stream": self._stream}
            system = self.query_one("#system", Input).value
            self.ask("compose", "playground.compose", **self._asked, prompt=prompt, system=system)

    def action_key(self) -> None:
        self.ask("accounts", "accounts.list", limit=_ACCOUNTS)

    def _ask_for_key(self, accounts: list[str]) -> None:
        fields = [Field("key", "A client's key", kind="secret", hint="nex-sk-…  (or leave it, and make one below)")]
        if accounts:
            choices = [("no: use the key above", ""), *((name, name) for name in accounts)]
            fields.append(Field("account", "Or one for an hour", kind="choice", choices=choices, value=accounts[0]))
        words = "The playground pays like any client. A key that is made here is in the audit log, and ends by itself."
        self.fill(Form("Whose key?", fields, act="Use it", words=words), self._take_key)

    def _take_key(self, given: dict[str, str]) -> None:
        if given["key"]:
            self._key = given["key"]
            self._show_with()
            self.action_send()
        elif given.get("account"):
            until = datetime.fromtimestamp(self.admin.clock() + LIFE, UTC).isoformat(timespec="seconds")
            self.ask("key", "keys.create", account=given["account"], name="playground", expires=until)

    # What comes back

    def _send(self, request: dict[str, Any]) -> None:
        self._number += 1
        number = self._number
        self._raw, self._status, self._drawn, self._facts, self._receiving = "", 0, 0, {}, True
        self._broken = ""
        self.query_one("#raw", Log).clear()
        self.query_one("#said", Static).update("")
        self.query_one("#answer", Vertical).border_subtitle = request["url"].partition("?")[0]
        self._say(Content.styled("◌ waiting for the first byte", "dim"))

        def tell(what: Began | Heard | Ended) -> None:
            self.post_message(Told(number, what))

        self.run_worker(ask(request, self._key, tell), group="ask", exclusive=True)

    def on_told(self, message: Told) -> None:
        if message.number != self._number:
            return  # of a request that was cancelled
        match message.what:
            case Began(status, headers, seconds):
                self._status = status
                self._facts = {"first": show.seconds(seconds)}
                for name in ("provider", "model", "dropped", "cost"):
                    if value := headers.get(f"x-nexeon-{name}"):
                        self._facts[name] = value
            case Heard(text, _):
                self._raw += text
                self.query_one("#raw", Log).write(text)
                self._read_soon()
            case Ended(error, seconds):
                self._receiving = False
                self._facts["took"] = show.seconds(seconds)
                if error:
                    self._break(error)
                else:
                    self._read()

    def _read_soon(self) -> None:
        """Reads what has come so far, a few times a second."""
        if self._asked["stream"] and self._status < 400 and not self._drawn:
            self._drawn = 1
            self.set_timer(_RENDER, self._read)

    def _read(self) -> None:
        self._drawn = 0
        if len(self._raw) > _LONGEST:
            self._say(Content("The answer is too long to be read here: v shows it raw."))
        elif self._raw and (self._receiving or self._status):
            self.ask("read", "playground.read", **self._asked, answer=self._raw, status=self._status)

    def _show_answer(self, answer: dict[str, Any]) -> None:
        parts = [_block(block) for block in answer.get("blocks", ())]
        if error := answer.get("error"):
            parts.append(Content.styled(f"✖ {error.get('message', error)}", "$error"))
        self.query_one("#said", Static).update(Content("\n\n").join(parts))
        if self.query_one("#rendered").is_vertical_scroll_end or self._receiving:
            self.query_one("#rendered").scroll_end(animate=False)
        usage = answer.get("usage") or {}
        bad = self._status >= 400 or bool(error)
        facts = [f"{'✖' if bad else '◌' if self._receiving else '●'} {self._status}"]
        if "provider" in self._facts:
            facts.append(self._facts["provider"])
        facts.append(f"first {self._facts.get('first', show.NONE)}")
        if "took" in self._facts:
            facts.append(f"took {self._facts['took']}")
        if usage:
            facts.append(f"{show.count(usage.get('input'))} → {show.count(usage.get('output'))} tokens")
        if finish := answer.get("finish"):
            facts.append(str(finish.get("reason")))
        if "cost" in self._facts:
            facts.append(f"{self._facts['cost']} USD")
        line = Content.styled(" · ".join(facts), "$error" if bad else "$success")
        if self._broken:
            line = Content.styled(f"✖ {self._broken}", "$error") + "\n" + line
        if "dropped" in self._facts:
            line += Content.styled(f"\n▲ dropped {self._facts['dropped']}", "$warning")
        self._say(line)

    def _break(self, why: str) -> None:
        """What has come is still read, and stays."""
        self._broken = why
        self._say(Content.styled(f"✖ {why}", "$error"))

    def _say(self, words: Content) -> None:
        self.query_one("#state", Static).update(words)

    # Keys

    def action_view(self) -> None:
        views = self.query_one("#views", ContentSwitcher)
        views.current = "raw" if views.current == "rendered" else "rendered"
        self.query_one(f"#{views.current}").focus()

    def action_stream(self) -> None:
        self._stream = not self._stream
        self._show_with()

    def action_cancel(self) -> None:
        if self._receiving:
            self._number += 1
            self._receiving = False
            self.workers.cancel_group(self, "ask")
            self._break("cancelled: what came until then is charged")

    def action_edit(self) -> None:
        self.query_one("#prompt").focus()

    def action_leave_editor(self) -> None:
        self.set_focus(None)

    def acts(self) -> Iterable[tuple[str, str, Callable[[], Any]]]:
        yield "Another key", "y · paste one, or make one for an hour", self.action_key
        yield "Stream on or off", "s · events as they come, or one answer", self.action_stream

    @on(Input.Submitted, "#model")
    @on(Input.Submitted, "#system")
    def _on_to_prompt(self) -> None:
        self.action_edit()


def reached(url: str, place: str) -> str:
    """A gateway far away tells the address that it has there; it is asked where its admin service was reached."""
    if not place.startswith(("http://", "https://")):
        return url
    there = urlsplit(url)
    return place.rstrip("/") + there.path + (f"?{there.query}" if there.query else "")


def _block(block: dict[str, Any]) -> Content:
    match block["type"]:
        case "text":
            return Content(block.get("text", ""))
        case "reasoning":
            summary = block.get("summary") or ""
            thought = block.get("text") or (summary if isinstance(summary, str) else "\n".join(map(str, summary)))
            return Content.styled(thought or "…", "dim italic")
        case "tool_call" | "server_tool_call":
            return Content.styled(f"→ {block.get('name', '')}({block.get('arguments', '')})", "$secondary")
        case "refusal":
            return Content.styled(f"✖ {block.get('text', '')}", "$warning")
        case kind:
            return Content.styled(f"[{kind}]", "dim")
