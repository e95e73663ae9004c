"""Picks of a list: narrowed as one types, one or several."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.screens.quick import Dialog

_MOST = 500
"""Options shown at once; typing narrows them."""


class PickScreen(Dialog[list[str]]):
    """Gives what is picked, in the order of `options`, then what was chosen before and is not among them; None where it
    is left. With `many`, space marks and enter takes all that is marked; else enter takes one."""

    AUTO_FOCUS = "#narrow"
    BINDINGS = [
        Binding("escape", "leave", "Leave"),
        Binding("down", "to_list", "To the list", show=False),
        Binding("ctrl+s", "take", "Take"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._title = ""
        self._every: tuple[str, ...] = ()
        self._chosen: dict[str, None] = {}
        self._many = True

    def ask(self, title: str, options: Sequence[str], chosen: Sequence[str] = (), *, many: bool = True) -> None:
        self._title = title
        self._every = tuple(options)
        self._chosen = dict.fromkeys(chosen)
        self._many = many
        self.renew()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog pick"):
            yield Input(placeholder="type to narrow", id="narrow", compact=True)
            yield OptionList(id="options", compact=True, markup=False)
            yield Static(id="picked", markup=False)

    def show(self) -> None:
        dialog = self.query_one(".dialog")
        dialog.border_title = self._title
        dialog.border_subtitle = "space marks · ctrl+s takes · esc leaves" if self._many else "enter takes"
        with self.prevent(Input.Changed):
            self.query_one("#narrow", Input).value = ""
        self._show()

    @property
    def options(self) -> OptionList:
        return self.query_one("#options", OptionList)

    @on(Input.Changed, "#narrow")
    def _narrowed(self) -> None:
        self._show()

    def _show(self) -> None:
        text = self.query_one("#narrow", Input).value.strip().casefold()
        found = [each for each in self._every if text in each.casefold()][:_MOST]
        options = self.options
        options.clear_options()
        options.add_options([Option(self._line(each), id=each) for each in found])
        if found:
            options.highlighted = 0
        self._tell()

    def _line(self, option: str) -> str:
        return f"{'✓' if option in self._chosen else ' '} {option}" if self._many else option

    def _tell(self) -> None:
        words = f"{len(self._chosen)} marked" if self._chosen else "none marked"
        self.query_one("#picked", Static).update(words if self._many else "")

    @on(Input.Submitted, "#narrow")
    def _submitted(self) -> None:
        option = self.options.highlighted_option
        if self._many:
            self.action_to_list()
        elif option is not None:
            self._close([str(option.id)])

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        option = str(event.option.id)
        if not self._many:
            self._close([option])
            return
        self._mark(option)

    def key_space(self) -> None:
        option = self.options.highlighted_option
        if self._many and self.options.has_focus and option is not None:
            self._mark(str(option.id))

    def _mark(self, option: str) -> None:
        if option in self._chosen:
            del self._chosen[option]
        else:
            self._chosen[option] = None
        self.options.replace_option_prompt(option, self._line(option))
        self._tell()

    def action_to_list(self) -> None:
        if not self.options.has_focus:
            self.options.focus()
        else:
            self.options.action_cursor_down()

    def action_take(self) -> None:
        if self._many:
            known = [each for each in self._every if each in self._chosen]
            self._close([*known, *(each for each in self._chosen if each not in known)])
        elif (option := self.options.highlighted_option) is not None:
            self._close([str(option.id)])

    def _close(self, found: list[str] | None) -> None:
        self.set_focus(None)
        self.dismiss(found)

    def action_leave(self) -> None:
        self._close(None)
