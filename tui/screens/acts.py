"""A screen whose records can be changed: it asks, says that it was done, and shows what is there now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tui.screens.base import AdminScreen
from tui.widgets.table import Item

_DONE = "done:"


class ActScreen(AdminScreen[None]):
    """`of_record` are the actions that need a record in front."""

    of_record: ClassVar[frozenset[str]] = frozenset()

    def in_front(self) -> Item | None:
        """The record that an act is about."""
        raise NotImplementedError

    def gone(self) -> None:
        """After the record in front was deleted."""
        self.load()

    def record(self) -> Item:
        found = self.in_front()
        assert found is not None
        return found

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in self.of_record:
            return self.is_mounted and self.in_front() is not None
        return super().check_action(action, parameters)

    def do(self, words: str, method: str, /, **params: Any) -> None:
        """Asks for a change; `words` say that it was made."""
        self.ask(_DONE + words, method, **params)

    def ask_and_do(self, act: str, what: str, meaning: str, done: str, method: str, /, **params: Any) -> None:
        """The same after a question that names `what`; `meaning` says what follows from it."""
        self.confirm(act, what, self.doing(done, method, **params), words=meaning)

    def doing(self, words: str, method: str, /, **params: Any) -> Callable[[], None]:
        return lambda: self.do(words, method, **params)

    def answered(self, job: str, result: Any) -> None:
        if not job.startswith(_DONE):
            super().answered(job, result)
            return
        self.notify(job.removeprefix(_DONE), markup=False)
        if result.get("deleted"):
            self.gone()
        else:
            self.load()
