"""First steps: an account, a key, a provider key, and a call that shows that it all works."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from nexeon.errors import AdminUnreachable, NexeonError
from tui import checks, show
from tui.asking import Began, Ended, Heard, ask
from tui.screens.adding import TESTED, AddsProviderKeys
from tui.screens.base import LOAD, Answered, Refused
from tui.screens.form import Form
from tui.screens.secret import SecretScreen
from tui.widgets.field import Field

_STEPS: Final = (
    ("account", "An account", "It holds the credit that requests are paid from."),
    ("key", "A key", "What a client shows. You see it once, with a line to try it."),
    ("provider", "A provider key", "Yours at a provider: kept encrypted, tried with one cheap call."),
    ("call", "A test call", "One short request through the gateway, as a client makes it."),
)
_UNKNOWN_KEY: Final = 401
_HELLO: Final = "Say hello in one sentence."
_NO_GATEWAY: Final = (
    "No gateway runs on this store yet, and this terminal holds the store.\n\n"
    "Leave with ctrl+q, start `nexeon serve` (or `nexeon serve --sandbox`, which answers offline), and open "
    "`nexeon tui` beside it: First steps in the palette (ctrl+p) goes on here."
)


class Said(Message):
    """Something of the test call's answer came."""

    def __init__(self, what: Began | Heard | Ended) -> None:
        super().__init__()
        self.what = what


class FirstScreen(AddsProviderKeys):
    """From nothing to an answer in four steps. Enter does the marked one; each can be left out or done elsewhere, and
    First steps in the command palette comes back here."""

    AUTO_FOCUS = "#steps"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
        Binding("s", "move(1)", "Skip"),
        Binding("x", "cancel", "Cancel the call"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, Any] = {}
        self._secret = ""
        self._asked: dict[str, Any] = {}
        self._status = 0
        self._facts: list[str] = []
        self._heard = ""
        self._calling = False
        self._example: Callable[[str], None] = lambda _: None
        self._grant = ""
        self._doubt = ""
        """What the last test of a provider key found wrong."""

    def compose_body(self) -> ComposeResult:
        steps = OptionList(id="steps", classes="panel", markup=False)
        steps.border_title = "First steps"
        steps.border_subtitle = "enter does the marked one · s skips it · q leaves"
        yield steps
        yield Static(id="said", classes="panel", markup=False)

    def on_mount(self) -> None:
        self.query_one("#said", Static).border_title = "Answer"
        self._say("")
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._calling if action == "cancel" else super().check_action(action, parameters)

    # What is there already

    def load(self) -> None:
        self.run_worker(self._look(), group=LOAD, exclusive=True)

    async def _look(self) -> None:
        try:
            found = {
                "accounts": await self._known("accounts.list", limit=2),
                "keys": await self._known("keys.list", limit=1),
                "providers": await self._known("provider_keys.list"),
                "models": await self._known("models.list", limit=1000),
                "formats": await self._known("playground.list"),
                "requests": await self._known("requests.list", limit=1),
            }
        except AdminUnreachable as error:  # what was found before stays
            self.post_message(Refused(LOAD, error))
        else:
            self.post_message(Answered(LOAD, found))

    async def _known(self, method: str, **params: Any) -> list[dict[str, Any]]:
        """None of what is not known here, as formats without a gateway. Raises AdminUnreachable."""
        try:
            items: list[dict[str, Any]] = (await self.admin.link.call(method, **params))["items"]
        except AdminUnreachable:
            raise
        except NexeonError:
            return []
        return items

    def _done(self) -> Mapping[str, str]:
        """What there is of each step, in words; "" where it is still to be done."""
        accounts, keys = self._found.get("accounts", ()), self._found.get("keys", ())
        active = [each for each in self._found.get("providers", ()) if each["state"] == "active"]
        names = list(dict.fromkeys(each["provider"] for each in active))
        return {
            "account": f"{accounts[0]['name']} · {show.money(accounts[0]['available'])} USD" if accounts else "",
            "key": f"{keys[0]['name']} …{keys[0]['last4']}" if keys else "",
            "provider": show.clip(", ".join(names), 40) if names else "",
            "call": "the log has requests" if self._found.get("requests") else "",
        }

    def _show(self) -> None:
        steps, done = self.query_one("#steps", OptionList), self._done()
        before = steps.highlighted
        options = []
        for number, (step, title, words) in enumerate(_STEPS, 1):
            sign, tint = ("✓", self.tint("success")) if done[step] else ("○", self.tint("text-muted"))
            if step == "provider" and done[step] and self._doubt:
                sign, tint, words = "▲", self.tint("warning"), self._doubt
            line = Text.assemble((sign, tint), f" {number} ", (title, "bold"), (f"  {done[step]}", tint))
            options.append(Option(line.append(f"\n    {words}", self.tint("text-muted")), id=step))
        steps.clear_options()
        steps.add_options(options)
        steps.highlighted = before if before is not None else 0

    def _go_on(self) -> None:
        """To the first step that is still to be done."""
        done = self._done()
        left = [number for number, (step, *_) in enumerate(_STEPS) if not done[step]]
        self.query_one("#steps", OptionList).highlighted = left[0] if left else len(_STEPS) - 1

    def answered(self, job: str, result: Any) -> None:
        match job:
            case "load":
                before, self._found = self._done(), result
                self._show()
                if self._done() != before:
                    self._go_on()
            case "account":
                if self._grant:
                    params = {"account": result["id"], "usd": self._grant, "reason": "first grant"}
                    self.ask("grant", "credits.add", **params)
                else:
                    self.load()
            case "grant":
                self.load()
            case "made":
                self._made(result["key"])
            case "example":
                self._example(_curl(self._reachable(result), self._secret))
            case "compose":
                self._send(self._reachable(result))
            case "read":
                self._show_answer(result)
            case _:
                super().answered(job, result)
                if job.startswith(TESTED):
                    self._doubt = "" if result["ok"] else _untrusted(result.get("message"))
                    self._show()

    def refused(self, job: str, error: NexeonError) -> None:
        if job.startswith(TESTED):
            self._doubt = _untrusted(error)
            self._show()
        if job == "example":  # the secret must be shown all the same
            self._example("")
        elif job == "grant":  # there is an account all the same, without credit
            self.load()

    # The steps

    @on(OptionList.OptionSelected, "#steps")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        {"account": self._account, "key": self._key, "provider": self.action_add, "call": self._call}[
            str(event.option.id)
        ]()

    def action_move(self, lines: int) -> None:
        steps = self.query_one("#steps", OptionList)
        steps.highlighted = min(max((steps.highlighted or 0) + lines, 0), len(_STEPS) - 1)

    def _account(self) -> None:
        fields = (
            Field("name", "Name", hint="acme", required=True),
            Field("usd", "First grant (USD)", "10", "none: requests are refused then", check=checks.usd),
        )

        def filled(values: dict[str, str]) -> None:
            self._grant = values["usd"]
            self.ask("account", "accounts.create", name=values["name"])

        self.fill(Form("1 An account", fields, act="Make", words=_STEPS[0][2]), filled)

    def _key(self) -> None:
        accounts = [each["name"] for each in self._found.get("accounts", ())]
        if not accounts:
            self.notify("An account comes first: it pays for the key's requests.", severity="warning")
            return
        fields = (
            Field("name", "Name", "first", required=True),
            Field("account", "Account", accounts[0], required=True, options=accounts),
        )

        def filled(values: dict[str, str]) -> None:
            self.ask("made", "keys.create", name=values["name"], account=values["account"])

        self.fill(Form("2 A key", fields, act="Make", words=_STEPS[1][2]), filled)

    def _made(self, secret: str) -> None:
        self._secret = secret

        def shown(example: str) -> None:
            words = "Keep it now: it is shown this once, and only its hash is stored."
            words += "" if example else "\n\nWhere `nexeon serve` runs, the fourth step tries it."
            self.app.push_screen(SecretScreen("Your key", secret, words, example))
            self.load()

        self._example = shown
        model, formats = self._model(), self._found.get("formats", ())
        if model and formats:
            self.ask("example", "playground.compose", **_request(formats[0]["id"], model, _HELLO))
        else:
            shown("")

    def _model(self) -> str:
        """The first model that a provider with a working key answers, else the first."""
        ready = {each["provider"] for each in self._found.get("providers", ()) if each["state"] == "active"}
        models = self._found.get("models", ())
        first = next((each for each in models if any(target["provider"] in ready for target in each["targets"])), None)
        return str((first or models[0])["id"]) if models else ""

    # The call

    def _call(self) -> None:
        formats, models = self._found.get("formats", ()), self._found.get("models", ())
        if self.admin.link.where == "store" or not formats or not models:
            self._say(_NO_GATEWAY if self.admin.link.where == "store" else "The gateway knows no model, or no route.")
            return
        fields = [
            Field("model", "Model", self._model(), required=True, options=[each["id"] for each in models]),
            Field("prompt", "Prompt", _HELLO, required=True),
        ]
        if not self._secret:
            fields.insert(0, Field("key", "A client's key", kind="secret", hint="nex-sk-… of step 2", required=True))

        def filled(values: dict[str, str]) -> None:
            self._secret = values.get("key", self._secret)
            self._asked = _request(formats[0]["id"], values["model"], values["prompt"])
            self.ask("compose", "playground.compose", **self._asked)

        self.fill(Form("4 A test call", fields, act="Send", words="It is charged like any client's."), filled)

    def _reachable(self, request: dict[str, Any]) -> dict[str, Any]:
        """A gateway far away is called at the address where it is administered."""
        place, url = self.admin.link.place, request["url"]
        if not place.startswith(("http://", "https://")):
            return request
        path = url.split("/", 3)[3] if url.count("/") > 2 else ""
        return {**request, "url": f"{place.rstrip('/')}/{path}"}

    def _send(self, request: dict[str, Any]) -> None:
        self._status, self._facts, self._heard, self._calling = 0, [], "", True
        self._say(f"◌ {request['url']} …")
        self.run_worker(ask(request, self._secret, lambda what: self.post_message(Said(what))), group="ask")

    def action_cancel(self) -> None:
        if self.workers.cancel_group(self, "ask"):
            self._calling = False
            self._say("Cancelled.")

    def on_said(self, message: Said) -> None:
        if not self._calling:
            return
        match message.what:
            case Began(status, headers, _):
                self._status = status
                names = ("provider", "model", "cost")
                self._facts = [f"{name} {value}" for name in names if (value := headers.get(f"x-nexeon-{name}"))]
            case Heard(text, _):
                self._heard += text
            case Ended(error, seconds):
                self._calling = False
                self._facts.append(show.seconds(seconds))
                if error:
                    self._say(f"✖ {error}")
                elif self._heard:
                    asked = {name: self._asked[name] for name in ("format", "model", "stream")}
                    self.ask("read", "playground.read", **asked, answer=self._heard, status=self._status)

    def _show_answer(self, answer: dict[str, Any]) -> None:
        parts = [str(block["text"]) for block in answer.get("blocks", ()) if block.get("text")]
        error = answer.get("error")
        if error:
            parts = [str(error.get("message", error)) if isinstance(error, dict) else str(error)]
        bad = bool(error) or self._status >= 400
        if self._status == _UNKNOWN_KEY:
            self._secret = ""
            parts.append("The next call asks for another key.")
        self._say("\n".join((f"{'✖' if bad else '✓'} {self._status} · {' · '.join(self._facts)}", "", *parts)))
        self.load()

    def _say(self, words: str) -> None:
        said = self.query_one("#said", Static)
        said.display = bool(words)
        self.refresh_bindings()
        said.update(words)


def _untrusted(why: object) -> str:
    return f"The test failed: {why or 'the provider refused it'}.\n    Screen 4 tests it again: t there."


def _request(format: str, model: str, prompt: str) -> dict[str, Any]:
    return {"format": format, "model": model, "prompt": prompt, "stream": False}


def _curl(request: dict[str, Any], key: str) -> str:
    """The request as a line for a shell."""
    words = ["curl", "-sS", request["url"], "-H", f"Authorization: Bearer {key}"]
    for name, value in request["headers"].items():
        words += ["-H", f"{name}: {value}"]
    return shlex.join([*words, "-d", json.dumps(request["body"], ensure_ascii=False)])
