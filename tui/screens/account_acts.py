"""What can be done to an account, in the list of accounts and with one account open."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from tui import checks, show
from tui.screens.acts import ActScreen
from tui.screens.form import Form
from tui.screens.limits import limit_fields, limit_values
from tui.widgets.field import Field
from tui.widgets.table import Item


class AccountActs(ActScreen):
    """Grants, refunds, adjustments and changes of the account in front."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus", "grant", "Grant", key_display="+"),
        Binding("e", "edit", "Edit"),
        Binding("d", "switch", "On/off"),
        Binding("x", "delete", "Delete"),
        Binding("f", "refund", "Refund"),
        Binding("a", "adjust", "Adjust"),
    ]

    of_record = frozenset({"grant", "refund", "adjust", "edit", "switch", "delete"})

    # Credit

    def action_grant(self) -> None:
        account = self.record()
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
        account = self.record()
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
        account = self.record()
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
        self.fill(Form(title, fields, act="Go on", words=words), then)

    def _ask_money(
        self, act: str, what: str, values: dict[str, str], done: str, method: str, params: dict[str, str]
    ) -> None:
        words = f"Reason: {values['reason']}" if values["reason"] else ""
        if values.get("request"):
            words += f"\nRequest: {values['request']}"
        if values.get("expires"):
            words += f"\nWhat is left of it on {values['expires']} is taken back."
        self.ask_and_do(act, what, words.strip(), done, method, **params)

    def answered(self, job: str, result: Any) -> None:
        super().answered(job, result)
        if isinstance(result, dict) and result.get("kind") == "refund" and result["request"] and not result["key"]:
            words = f"No request `{result['request']}` is known, so no key got its budget back."
            self.notify(words, severity="warning", timeout=8, markup=False)

    # The account itself

    def action_edit(self) -> None:
        account = self.record()
        soft = account["soft_limit"]
        fields = (
            Field("name", "Name", account["name"], required=True),
            Field("soft_limit", "Warn below (USD)", soft or "", "no warning", check=checks.usd_or_zero),
            Field("overdraft", "Overdraft (USD)", account["overdraft"], "0", check=checks.usd_or_zero),
            *limit_fields(account),
        )

        def asked(values: dict[str, str]) -> dict[str, Any]:
            return {
                "name": values["name"],
                "soft_limit": values["soft_limit"] or None,
                "overdraft": values["overdraft"] or "0",
                **limit_values(values),
            }

        form = Form(f"Account {account['name']}", fields, words="Limits are of all its keys together.")
        self.change(f"account `{account['name']}`", form, asked, "accounts", account=account["id"])

    def action_switch(self) -> None:
        account = self.record()
        name, id = account["name"], account["id"]
        if account["disabled"]:
            self.do(f"Enabled account `{name}`", "accounts.update", account=id, disabled=False)
            return
        self.ask_and_do(
            "Disable",
            f"account `{name}`",
            "Its keys are refused until it is enabled again.",
            f"Disabled account `{name}`",
            "accounts.disable",
            account=id,
        )

    def action_delete(self) -> None:
        account = self.record()
        name, id = account["name"], account["id"]
        self.ask_and_do(
            "Delete",
            f"account `{name}`",
            f"Its keys go with it, and {show.exact(account['balance'])} USD. Its ledger stays, under {id}.",
            f"Deleted account `{name}`",
            "accounts.delete",
            account=id,
        )
