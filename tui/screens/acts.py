"""A screen whose records can be changed: it asks, says that it was done, and shows what is there now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from tui import show
from tui.screens.base import AdminScreen, Filled
from tui.screens.form import Form
from tui.widgets.table import Item

_DONE: Final = "done:"
_NOW: Final = "now"


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different of a record, which was `before` when its form was opened."""

    what: str
    group: str
    subject: dict[str, Any]
    before: Item
    wanted: dict[str, Any]
    filled: Filled | None


class ActScreen(AdminScreen[None]):
    """`of_record` are the actions that need a record in front."""

    of_record: ClassVar[frozenset[str]] = frozenset()
    _change: Change | None = None

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

    def change(
        self, what: str, form: Form, asked: Callable[[dict[str, str]], dict[str, Any]], group: str, **subject: Any
    ) -> None:
        """Shows a form of the record in front, and changes what somebody changed in it: `asked` makes parameters of the
        operation `update` of its values. What another one has changed meanwhile is overwritten after a question only.
        """
        before = self.record()
        shown = asked({field.name: field.value for field in form.fields})

        def filled(values: dict[str, str]) -> None:
            wanted = {name: value for name, value in asked(values).items() if value != shown[name]}
            if wanted:
                self._change = Change(what, group, subject, before, wanted, self._filled)
                self.ask(_NOW, f"{group}.show", **subject)
            else:
                self.notify("Nothing was changed.", timeout=2)

        self.fill(form, filled)

    def _make_change(self, change: Change, now: Item) -> None:
        act = self.doing(f"Changed {change.what}", f"{change.group}.update", **change.subject, **change.wanted)
        words = [
            f"{name.replace('_', ' ')}: {_word(change.before[name])} became {_word(now[name])}; yours is {_word(value)}"
            for name, value in change.wanted.items()
            if name in now and now[name] != change.before[name]
        ]
        if words:
            meaning = "Somebody changed it after you opened it.\n" + "\n".join(words)
            self.confirm("Overwrite", change.what, act, words=meaning)
        else:
            act()

    def is_act(self, job: str) -> bool:
        return job.startswith(_DONE)

    def answered_late(self, job: str, result: Any) -> None:
        self.notify(job.removeprefix(_DONE), markup=False)

    def forget(self) -> None:
        super().forget()
        self._change = None

    def answered(self, job: str, result: Any) -> None:
        if job == _NOW and self._change is not None:
            change, self._change = self._change, None
            self._with(change.filled, lambda: self._make_change(change, result))
            return
        if not job.startswith(_DONE):
            super().answered(job, result)
            return
        self.notify(job.removeprefix(_DONE), markup=False)
        if result.get("deleted"):
            self.gone()
        else:
            self.load()


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) or show.NONE if isinstance(value, list) else str(value or show.NONE)
