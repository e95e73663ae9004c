"""What can be done to a client's key, in the list of keys and with one key open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from textual.binding import Binding, BindingType

from nexeon.errors import NexeonError
from tui import checks, show
from tui.screens.acts import ActScreen
from tui.screens.base import Answered
from tui.screens.form import Form, FormScreen
from tui.screens.limits import limit_fields, limit_values
from tui.screens.secret import SecretScreen
from tui.widgets.field import Field
from tui.widgets.table import Item

_FORM: Final = "form"
_SECRET: Final = "secret:"
_MOST: Final = 1000
PERIODS: Final = (("for good", ""), ("a day", "day"), ("a week", "week"), ("a month", "month"))


class KeyActs(ActScreen):
    """Makes, changes, rotates and ends keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "create", "New"),
        Binding("e", "edit", "Edit"),
        Binding("t", "rotate", "Rotate"),
        Binding("d", "switch", "On/off"),
        Binding("x", "delete", "Delete"),
    ]
    of_record = frozenset({"edit", "rotate", "switch", "delete"})

    def __init__(self) -> None:
        super().__init__()
        self._opening: Callable[[dict[str, list[str]]], None] = lambda _: None

    def account(self) -> str:
        """The name of the account that a new key is for, as far as it is known here."""
        return ""

    # What can be picked comes first, then the form; where it is known from before, the form is there at once

    def _open_form(self, opening: Callable[[dict[str, list[str]]], None]) -> None:
        self._opening = opening
        if self._known():
            self._opening = self._offer
            opening(self.admin.known)
            self.call_after_refresh(self.ahead)
        else:
            self.ahead()

    def _known(self) -> bool:
        return bool(self.admin.known.get("accounts"))

    def _offer(self, choices: dict[str, list[str]]) -> None:
        """News of what can be picked, to the form that is open."""
        if isinstance(self.app.screen, FormScreen):
            self.app.screen.offer({**choices, "account": choices["accounts"]})

    def ahead(self) -> None:
        self.run_worker(self._choices(), group=_FORM, exclusive=True)

    async def _choices(self) -> None:
        found = {"accounts": await self._names("accounts.list", "name"), "models": await self._names("models.list")}
        paths = await self._names("routes.list", "path")
        providers = await self._names("configuration.show", "providers")
        found["scopes"] = ["read", *(f"endpoint:{each}" for each in paths), *(f"provider:{each}" for each in providers)]
        self.post_message(Answered(_FORM, found))

    async def _names(self, method: str, name: str = "id") -> list[str]:
        """None of what is not known here, as without a configuration."""
        params = {} if method in ("routes.list", "configuration.show") else {"limit": _MOST}
        try:
            found = await self.admin.link.call(method, **params)
        except NexeonError:
            return []
        if "items" not in found:
            return list(found.get(name) or ())
        return list(dict.fromkeys(str(item[name]) for item in found["items"]))

    def answered(self, job: str, result: Any) -> None:
        if job == _FORM:
            self.admin.known |= result
            opening, self._opening = self._opening, lambda _: None
            opening(result)
        elif job.startswith(_SECRET):
            self._tell_secret(job, result)
            self.made(result["id"])
            self.load()
        else:
            super().answered(job, result)

    def _tell_secret(self, job: str, result: Any) -> None:
        words = "Keep it now: it is shown this once, and only its hash is stored."
        self.app.push_screen(SecretScreen(job.removeprefix(_SECRET), result["key"], words))

    def is_act(self, job: str) -> bool:
        return job.startswith(_SECRET) or super().is_act(job)

    def answered_late(self, job: str, result: Any) -> None:
        if job.startswith(_SECRET):
            self._tell_secret(job, result)
        else:
            super().answered_late(job, result)

    def forget(self) -> None:
        super().forget()
        self._opening = lambda _: None

    # Acts

    def action_create(self) -> None:
        self._open_form(self._create)

    def _create(self, choices: dict[str, list[str]]) -> None:
        known = choices["accounts"]
        account = self.account() or (known[0] if len(known) == 1 else "")
        if not known:
            self.notify("Make an account first: 2, then n.", severity="warning")
            return
        fields = (
            Field("name", "Name", hint="ci", required=True),
            Field("account", "Account", account, "whose credit it uses", required=True, options=known),
            *_fields({}, choices),
        )

        def filled(values: dict[str, str]) -> None:
            params = {name: value for name, value in _values(values).items() if value not in (None, "", [])}
            title = f"Key {values['name']}"
            self.ask(_SECRET + title, "keys.create", name=values["name"], account=values["account"], **params)

        self.fill(Form("New key", fields, act="Make", words="What is left empty is not limited."), filled)

    def action_edit(self) -> None:
        self._open_form(self._edit)

    def _edit(self, choices: dict[str, list[str]]) -> None:
        key = self.record()
        fields = (Field("name", "Name", key["name"], required=True), *_fields(key, choices))

        form = Form(f"Key {key['name']}", fields, words="What is left empty is not limited.")

        def asked(values: dict[str, str]) -> dict[str, Any]:
            return {"name": values["name"], **_values(values)}

        self.change(f"key `{key['name']}`", form, asked, "keys", key=key["id"])

    def action_rotate(self) -> None:
        key = self.record()
        fields = (Field("overlap", "Overlap (seconds)", "3600", required=True, check=checks.whole),)
        words = f"A new secret for key `{key['name']}`. The one before stays good for as long as the overlap."

        def filled(values: dict[str, str]) -> None:
            overlap = int(values["overlap"])
            meaning = (
                f"The secret that ends in {key['last4']} is refused after {show.seconds(overlap)}."
                if overlap
                else f"The secret that ends in {key['last4']} is refused at once."
            )
            rotate = lambda: self.ask(  # noqa: E731
                f"{_SECRET}Key {key['name']}", "keys.rotate", key=key["id"], overlap=overlap
            )
            self.confirm("Rotate", f"key `{key['name']}`", rotate, words=meaning)

        self.fill(Form("Rotate a key", fields, act="Go on", words=words), filled)

    def action_switch(self) -> None:
        key = self.record()
        name, id = key["name"], key["id"]
        if key["state"] == "disabled":
            self.do(f"Enabled key `{name}`", "keys.update", key=id, disabled=False)
        else:
            meaning = "Requests with it are refused until it is enabled again."
            self.ask_and_do("Disable", f"key `{name}`", meaning, f"Disabled key `{name}`", "keys.disable", key=id)

    def action_delete(self) -> None:
        key = self.record()
        what = f"key `{key['name']}` (…{key['last4']})"
        meaning = "Requests with it are refused for good. What it spent stays in the ledger."
        self.ask_and_do("Delete", what, meaning, f"Deleted key `{key['name']}`", "keys.delete", key=key["id"])


def _fields(key: Item, choices: dict[str, list[str]]) -> Sequence[Field]:
    def several(name: str) -> str:
        return ", ".join(key.get(name) or ())

    return (
        Field("models", "Models", several("models"), "every model", options=choices["models"], many=True),
        Field("scopes", "Scopes", several("scopes"), "everything", options=choices["scopes"], many=True),
        Field("budget", "Budget (USD)", key.get("budget") or "", "no budget", check=checks.usd_or_zero),
        Field("period", "Budget is for", key.get("period") or "", kind="choice", choices=PERIODS),
        Field("expires", "Expires", key.get("expires") or "", "never, or 2030-12-31", check=checks.moment),
        *limit_fields(key),
    )


def _values(values: dict[str, str]) -> dict[str, Any]:
    def several(name: str) -> list[str]:
        return [part.strip() for part in values[name].split(",") if part.strip()]

    return {
        "models": several("models"),
        "scopes": several("scopes"),
        "budget": values["budget"] or None,
        "period": values["period"] or None,
        "expires": values["expires"] or None,
        **limit_values(values),
    }
