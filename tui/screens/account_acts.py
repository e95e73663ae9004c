"""What can be done to an account, in the list of accounts and with one account open."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from tui import checks, show
from tui.screens.base import AdminScreen
from tui.screens.form import Field, FormScreen
from tui.widgets.table import Item

LIMITS = (
    ("rpm", "Requests a minute"),
    ("tpm", "Tokens a minute"),
    ("rpd", "Requests a day"),
    ("tpd", "Tokens a day"),
    ("concurrency", "At the same time"),
)
_DONE = "done:"


def limit_fields(record: Item) -> list[Field]:
    """A field for each limit that accounts and keys share; empty is no limit."""
    return [
        Field(name, label, "" if record.get(name) is None else str(record[name]), "no limit", check=checks.whole)
        for name, label in LIMITS
    ]


def limit_values(values: dict[str, str]) -> dict[str, int | None]:
    return {name: int(values[name]) if values[name] else None for name, _ in LIMITS}


class AccountActs(AdminScreen[None]):
    """Grants, refunds, adjustments and changes of the account in front."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus", "grant", "Grant", key_display="+"),
        Binding("f", "refund", "Refund"),
        Binding("a", "adjust", "Adjust"),
        Binding("e", "edit", "Edit"),
        Binding("d", "switch", "Disable/enable"),
        Binding("x", "delete", "Delete"),
    ]

    def account_in_front(self) -> Item | None:
        """The account that an act is about."""
        raise NotImplementedError

    def deleted(self) -> None:
        """After the account in front is gone."""
        self.load()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("grant", "refund", "adjust", "edit", "switch", "delete"):
            return self.is_mounted and self.account_in_front() is not None
        return super().check_action(action, parameters)

    def answered(self, job: str, result: Any) -> None:
        if job.startswith(_DONE):
            self.notify(job.removeprefix(_DONE), markup=False)
            if result.get("deleted"):
                self.deleted()
            else:
                self.load()
        else:
            super().answered(job, result)

    def do(self, words: str, method: str, /, **params: Any) -> None:
        """Asks for a change; `words` say that it was made."""
        self.ask(_DONE + words, method, **params)

    # Credit

    def action_grant(self) -> None:
        account = self._account()
        fields = (
            Field("usd", "USD", hint="25.00", required=True, check=checks.usd),
            Field("reason", "Reason", hint="invoice 4711"),
            Field("expires", "Expires", hint="never, or such as 2030-12-31", check=checks.moment),
        )

        def filled(values: dict[str, str]) -> None:
            what = f"{show.exact(values['usd'])} USD to account `{account['name']}`"
            params = {"account": account["id"], "usd": values["usd"], "reason": values["reason"]}
            if values["expires"]:
                params["expires"] = values["expires"]
            self._ask_money("Grant", what, values, f"Granted {what}", "credits.add", params)

        self._money_form("Grant credit", account, fields, filled)

    def action_refund(self) -> None:
        account = self._account()
        fields = (
            Field("usd", "USD", hint="0.50", required=True, check=checks.usd),
            Field("request", "Request", hint="its id, whose key gets its budget back"),
            Field("reason", "Reason", hint="why", required=True),
        )

        def filled(values: dict[str, str]) -> None:
            what = f"{show.exact(values['usd'])} USD to account `{account['name']}`"
            params = {name: values[name] for name in ("usd", "reason", "request")} | {"account": account["id"]}
            self._ask_money("Refund", what, values, f"Refunded {what}", "credits.refund", params)

        self._money_form("Refund", account, fields, filled)

    def action_adjust(self) -> None:
        account = self._account()
        fields = (
            Field("usd", "USD", hint="up or down: 5 or -2.50", required=True, check=checks.usd_either_way),
            Field("reason", "Reason", hint="why", required=True),
        )

        def filled(values: dict[str, str]) -> None:
            what = f"account `{account['name']}` by {show.exact(values['usd'])} USD"
            params = {"account": account["id"], "usd": values["usd"], "reason": values["reason"]}
            self._ask_money("Adjust", what, values, f"Adjusted {what}", "credits.adjust", params)

        self._money_form("Adjust the balance", account, fields, filled)

    def _money_form(self, title: str, account: Item, fields: tuple[Field, ...], then: Any) -> None:
        words = f"{account['name']} has {show.exact(account['available'])} USD available."
        self.fill(FormScreen(title, fields, act="Go on", words=words), then)

    def _ask_money(
        self, act: str, what: str, values: dict[str, str], done: str, method: str, params: dict[str, str]
    ) -> None:
        words = f"Reason: {values['reason']}" if values["reason"] else ""
        if values.get("expires"):
            words += f"\nWhat is left of it on {values['expires']} is taken back."
        self.confirm(act, what, lambda: self.do(done, method, **params), words=words.strip())

    # The account itself

    def action_edit(self) -> None:
        account = self._account()
        soft = account["soft_limit"]
        fields = (
            Field("name", "Name", account["name"], required=True),
            Field("soft_limit", "Warn below (USD)", soft or "", "no warning", check=checks.usd_or_zero),
            Field("overdraft", "Overdraft (USD)", account["overdraft"], "0", check=checks.usd_or_zero),
            *limit_fields(account),
        )

        def filled(values: dict[str, str]) -> None:
            params = {
                "name": values["name"],
                "soft_limit": values["soft_limit"] or None,
                "overdraft": values["overdraft"] or "0",
                **limit_values(values),
            }
            self.do(f"Changed account `{values['name']}`", "accounts.update", account=account["id"], **params)

        self.fill(
            FormScreen(f"Account {account['name']}", fields, words="Limits are of all its keys together."), filled
        )

    def action_switch(self) -> None:
        account = self._account()
        name, id = account["name"], account["id"]
        if account["disabled"]:
            self.do(f"Enabled account `{name}`", "accounts.update", account=id, disabled=False)
            return
        self.confirm(
            "Disable",
            f"account `{name}`",
            lambda: self.do(f"Disabled account `{name}`", "accounts.disable", account=id),
            words="Its keys are refused until it is enabled again.",
        )

    def action_delete(self) -> None:
        account = self._account()
        name, id = account["name"], account["id"]
        self.confirm(
            "Delete",
            f"account `{name}`",
            lambda: self.do(f"Deleted account `{name}`", "accounts.delete", account=id),
            words=f"Its keys go with it, and {show.exact(account['balance'])} USD. Its ledger stays, under {id}.",
        )

    def _account(self) -> Item:
        account = self.account_in_front()
        assert account is not None
        return account
