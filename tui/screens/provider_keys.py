"""Provider keys: the operator's keys, how a running gateway finds each, and why one is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType

from tui import checks, show
from tui.screens.acts import ActScreen
from tui.screens.adding import AddsProviderKeys
from tui.screens.form import Form
from tui.screens.limits import limit_fields, limit_values
from tui.screens.listing import ListScreen
from tui.screens.record import show_record
from tui.widgets.columns import Column
from tui.widgets.field import Field
from tui.widgets.table import Cell, Item

_TINTS = {"active": "success", "cooling": "warning", "removed": "error", "disabled": "text-muted"}
_SIGNS = {"active": "●", "cooling": "◐", "removed": "✖", "disabled": "○"}
_SEARCHED: Final = ("provider", "label", "id", "last4", "state", "reason", "account")


def name_of(key: Item) -> str:
    """As people know it: `alpine main`."""
    return f"{key['provider']} {key['label'] or key['id']}"


_CONFIGURED: Final = "config:"
"""What the ids of keys begin with that the service does not keep."""


class ProviderKeysScreen(AddsProviderKeys, ActScreen, ListScreen):
    """The keys at providers: which work, which rest until when, which were refused and why.

    Keys of the configuration are here too; what they are is changed there. Calls and errors are those since the
    gateway began.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "add", "Add"),
        Binding("t", "test", "Test"),
        Binding("e", "edit", "Edit"),
        Binding("d", "switch", "On/off"),
        Binding("x", "delete", "Delete"),
    ]
    of_record = frozenset({"test", "edit", "switch", "delete"})
    method = "provider_keys.list"
    paged = False
    columns = (
        Column("Provider", 10),
        Column("Label", 10, flex=True),
        Column("Ends in", 8, drop=3),
        Column("State", 13),
        Column("Why", 16, flex=True, drop=1),
        Column("Weight", 6, align="right", drop=5),
        Column("Now", 4, align="right", drop=4),
        Column("Calls", 6, align="right"),
        Column("Errors", 6, align="right"),
    )
    searches = "a part of the provider, the label, the state or the reason"
    nothing = "There is no provider key yet.\n\nPress n to add one: the secret is kept encrypted."
    every = 2.0

    def params(self, text: str) -> dict[str, Any]:
        return {}

    def matches(self, item: Item, text: str) -> bool:
        wanted = text.casefold()
        return any(wanted in str(item[name]).casefold() for name in _SEARCHED)

    def row(self, item: Item) -> Sequence[Cell]:
        live = item["live"] or {}
        state = item["state"]
        errors = live.get("errors") or 0
        return (
            item["provider"],
            item["label"] or item["id"],
            Text(f"…{item['last4']}" if item["last4"] else show.NONE, style="dim"),
            Text(f"{_SIGNS.get(state, ' ')} {self._state(item)}", style=self.tint(_TINTS.get(state, ""))),
            item["reason"],
            f"{item['weight']:g}",
            show.count(live.get("running")),
            show.count(live.get("calls")),
            Text(show.count(live.get("errors")), style=self.tint("error") if errors else ""),
        )

    def _state(self, item: Item) -> str:
        wait = (item["live"] or {}).get("wait") or 0
        if item["state"] == "cooling":
            return f"cools {show.seconds(wait)}"
        return str(item["state"])

    def opened(self, item: Item) -> None:
        show_record(self, name_of(item), item)

    def pointed(self, item: Item | None) -> None:
        self.refresh_acts()

    def in_front(self) -> Item | None:
        return self.table.item

    # Acts

    def action_test(self) -> None:
        key = self.record()
        self.notify(f"Testing {name_of(key)} …", markup=False, timeout=2)
        self.try_key(name_of(key), key["id"])

    def _configured(self, key: Item) -> bool:
        """Whether it stands in the configuration, which is told: there is nothing to ask or to fill then."""
        found = str(key["id"]).startswith(_CONFIGURED)
        if found:
            words = f"{name_of(key)} stands in the configuration: change it there."
            self.notify(words, severity="warning", markup=False)
        return found

    def action_edit(self) -> None:
        key = self.record()
        if self._configured(key):
            return
        fields = (
            Field("label", "Label", key["label"]),
            Field("account", "Organisation", key["account"], required=True),
            Field("weight", "Weight", f"{key['weight']:g}", required=True, check=checks.positive),
            *limit_fields(key),
        )

        def asked(values: dict[str, str]) -> dict[str, Any]:
            params: dict[str, Any] = {"label": values["label"], "account": values["account"]}
            return params | {"weight": int(values["weight"]), **limit_values(values)}

        self.change(
            f"provider key `{name_of(key)}`",
            Form(f"Provider key {name_of(key)}", fields),
            asked,
            "provider_keys",
            key=key["id"],
        )

    def action_switch(self) -> None:
        key = self.record()
        name, id = name_of(key), key["id"]
        if key["state"] == "active":
            if self._configured(key):
                return
            self.ask_and_do(
                "Disable",
                f"provider key `{name}`",
                "Requests go to the provider's other keys, or are refused where there is none.",
                f"Disabled {name}",
                "provider_keys.disable",
                key=id,
            )
        else:
            self.do(f"Enabled {name}: it is used again", "provider_keys.enable", key=id)

    def action_delete(self) -> None:
        key = self.record()
        if self._configured(key):
            return
        self.ask_and_do(
            "Delete",
            f"provider key `{name_of(key)}` (…{key['last4']})",
            "Its secret is gone for good here; at the provider it stays as it is.",
            f"Deleted {name_of(key)}",
            "provider_keys.delete",
            key=key["id"],
        )
