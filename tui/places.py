"""The screens by number key. Each is imported when it is first opened."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tui.screens.base import AdminScreen
    from tui.screens.opened import OpenedScreen


@dataclass(frozen=True, slots=True)
class Place:
    """`mode` is the app's mode and the module in `tui.screens`; `short` is its title where there is little room."""

    key: str
    mode: str
    screen: str
    title: str
    short: str
    words: str

    def make(self) -> AdminScreen[Any]:
        screen: AdminScreen[Any] = getattr(importlib.import_module(f"tui.screens.{self.mode}"), self.screen)()
        screen.mode = self.mode
        return screen


PLACES: Final = (
    Place("1", "overview", "OverviewScreen", "Overview", "Overview", "what happens now, and what needs attention"),
    Place("2", "accounts", "AccountsScreen", "Accounts", "Accounts", "balances, credits, ledgers"),
    Place("3", "keys", "KeysScreen", "Keys", "Keys", "clients' keys: limits, budgets, scopes"),
    Place("4", "provider_keys", "ProviderKeysScreen", "Provider keys", "Providers", "the operator's keys at providers"),
    Place("5", "models", "ModelsScreen", "Models & routes", "Models", "prices, targets, health; explain a request"),
    Place("6", "requests", "RequestsScreen", "Requests", "Requests", "the live log, and one request in full"),
    Place("7", "playground", "PlaygroundScreen", "Playground", "Play", "send a prompt, watch the stream"),
    Place("8", "audit", "AuditScreen", "Audit", "Audit", "who changed what"),
)

OPENED: Final = (
    ("account", "AccountScreen"),
    ("key", "KeyScreen"),
    ("explain", "ExplainScreen"),
    ("request", "RequestScreen"),
    ("record", "RecordScreen"),
)
"""Those that show one thing of a list: the module in `tui.screens`, and the class."""


def opened(names: tuple[str, str]) -> type[OpenedScreen]:
    """One of `OPENED`."""
    module, screen = names
    kind: type[OpenedScreen] = getattr(importlib.import_module(f"tui.screens.{module}"), screen)
    return kind
