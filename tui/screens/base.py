"""What every screen has: the line at the top, the line at the bottom, and questions to the admin service.

A worker asks and posts what it was answered; only the handlers of that touch state and widgets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize, ScreenResume, ScreenSuspend
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker

from nexeon.errors import AdminUnreachable, NexeonError, StoreLocked
from tui.screens.confirm import ConfirmScreen
from tui.screens.form import Form, FormScreen
from tui.screens.quick import QuickScreen
from tui.widgets.nav import Nav
from tui.widgets.status import StatusBar

R = TypeVar("R")
Then = Callable[[dict[str, str]], None]
LOAD = "load"
"""The job whose refusal stands above the body until it works again."""

PAUSE = 0.05
"""Seconds between two parts of what is made ahead: for the keys that were pressed meanwhile."""

_LOCKED = (
    ".\nOne terminal, or one browser tab, works on a store by itself. Close that one: this one looks again by itself."
    "\nOr start a gateway there (nexeon serve): through it, any number of them work at once."
)


class Answered(Message):
    """The admin service did what job `job` asked; in the screen's turn `turn`, None where it is the same in any."""

    def __init__(self, job: str, result: Any, turn: int | None = None) -> None:
        super().__init__()
        self.job = job
        self.result = result
        self.turn = turn


class Refused(Message):
    """It did not, or could not be asked."""

    def __init__(self, job: str, error: NexeonError, turn: int | None = None) -> None:
        super().__init__()
        self.job = job
        self.error = error
        self.turn = turn


@dataclass(frozen=True, slots=True)
class Filled:
    """A form as somebody filled it, and what is done with that."""

    form: Form
    then: Then


class AdminScreen(QuickScreen[R]):
    """`every`: seconds between two loads while the screen is looked at, None for none but `r`."""

    AUTO_FOCUS: ClassVar[str | None] = "RecordTable"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("r", "reload", "Reload", show=False)]
    every: ClassVar[float | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[str, Worker[None]] = {}
        self._clock: Timer | None = None
        self._acts: dict[str, tuple[str, bool]] = {}
        self._settled = False
        self._fresh = False
        """It was looked at when it asked for the first time, and not since."""
        self._filled: Filled | None = None
        """Whose values what is asked now consists of; and by job, until it is answered."""
        self._sent: dict[str, Filled] = {}
        self._loading: set[str] = set()
        """Jobs that nobody waits for: those of a screen that shows what there is."""
        self.turn = 0
        """How often it has become about something else."""
        self.mode = ""
        """The app's mode whose first screen it is, and stays; "" where it comes and goes."""

    def compose(self) -> ComposeResult:
        yield Nav(self.mode or self.admin.current_mode)
        yield Static(id="problem", markup=False)
        with Vertical(id="body"):
            yield from self.compose_body()
        yield StatusBar()

    def compose_body(self) -> ComposeResult:
        """The widgets between the two lines."""
        raise NotImplementedError

    def load(self) -> None:
        """Asks for what the screen shows."""

    def ahead(self) -> None:
        """Asks for what its dialogs need, with nobody waiting for them yet."""

    def answered(self, job: str, result: Any) -> None:
        """What a job of this screen was answered."""

    def answered_late(self, job: str, result: Any) -> None:
        """What an act was answered once the screen is about something else."""

    def is_act(self, job: str) -> bool:
        """Whether a job changes anything."""
        return False

    def made(self, id: str) -> None:
        """A record was made, which is to be in front once it is shown."""

    def seek(self, wanted: str) -> None:
        """Somebody came here for a record: its id, or a text that finds it."""

    def acts(self) -> Iterable[tuple[str, str, Callable[[], Any]]]:
        """Title, words and act of what the command palette offers here."""
        return ()

    def tint(self, name: str) -> str:
        """The theme's colour by its variable (`error`, `warning`, `success`, `primary`, `text-muted` …), as a style
        for `rich.text.Text`."""
        value = self.app.theme_variables.get(name, "")
        return value if len(value) == 7 and value[0] == "#" else "dim"

    def refresh_acts(self) -> None:
        """Shows at the bottom what can be done now, where that has changed: drawing it costs more than a keystroke."""
        acts = {key: (active.binding.description, active.enabled) for key, active in self.active_bindings.items()}
        if acts != self._acts:
            self._acts = acts
            self.refresh_bindings()

    # Asking

    def ask(self, job: str, method: str, /, *, patient: bool = False, **params: Any) -> None:
        """Runs an operation of the admin service, in place of the same job's earlier question; `patient`: not while
        that is still running."""
        running = self._jobs.get(job)
        if patient and running is not None and running.is_running:
            return
        if self._filled is not None:
            self._sent[job] = self._filled
        (self._loading.add if patient or job == LOAD else self._loading.discard)(job)
        work = partial(self._ask, job, method, params, self.turn)  # may be cancelled before it begins
        self._jobs[job] = self.run_worker(work, name=job, group=job, exclusive=True)

    async def _ask(self, job: str, method: str, params: dict[str, Any], turn: int) -> None:
        try:
            result = await self.admin.link.call(method, **params)
        except NexeonError as error:
            self.post_message(Refused(job, error, turn))
        else:
            self.post_message(Answered(job, result, turn))

    def forget(self) -> None:
        """The screen becomes about something else: nothing that was asked until now is of interest any more, but for
        what it has done."""
        self.turn += 1
        for job, worker in self._jobs.items():
            if not self.is_act(job):
                worker.cancel()
        self._jobs.clear()
        self._loading.clear()
        self._sent.clear()
        self._filled = None

    def on_answered(self, message: Answered) -> None:
        message.stop()
        if message.turn not in (None, self.turn):
            if self.is_act(message.job):
                self.answered_late(message.job, message.result)
            return
        self._sent.pop(message.job, None)
        if message.job == LOAD:
            self.query_one("#problem").display = False
        self.answered(message.job, message.result)
        self._settle()

    def on_refused(self, message: Refused) -> None:
        message.stop()
        job, error = message.job, message.error
        lost = isinstance(error, AdminUnreachable) and self.admin.link.reached
        if message.turn not in (None, self.turn):
            if self.is_act(job):
                self._toast(error, lost)
            return
        self._settle()
        sent = self._sent.pop(job, None)
        if lost and (job == LOAD or job in self._loading):  # the line at the bottom says so
            return
        if job == LOAD:
            problem = self.query_one("#problem", Static)
            problem.update(f"✖ {error}{_LOCKED if isinstance(error, StoreLocked) else ''}")
            problem.display = True
        else:
            if sent is not None and self.is_current:  # with all that was typed
                self.fill(replace(sent.form, wrong=_words(error)), sent.then)
            else:
                self._toast(error, lost)
        self.refused(job, error)

    def _toast(self, error: NexeonError, lost: bool) -> None:
        title = "No answer" if lost else "Refused"
        self.notify(_words(error), title=title, severity="error", timeout=8, markup=False)

    def refused(self, job: str, error: NexeonError) -> None:
        """After a refusal has been shown."""

    def _settle(self) -> None:
        if not self._settled:
            self._settled = True
            if self.mode and self.is_current:
                self.call_after_refresh(self.admin.settled)
            elif self.mode:
                self.post_message(Resize(self.app.size, self.app.size))  # lays it out
                self.set_timer(PAUSE, self._draw_ahead)

    def _draw_ahead(self) -> None:
        """Draws what is not looked at yet, so that showing it takes no longer than showing it again."""
        for widget in self.walk_children(Widget):
            if widget.outer_size:
                widget.render_lines(widget.outer_size.region)
        self.ahead()
        self.admin.settled()

    # Dialogs

    def confirm(self, act: str, what: str, then: Callable[[], None], *, words: str = "") -> None:
        """Asks once before `act` is done to `what`, which the question names; `words` say what it means. Whoever came
        from a form gets back to that with a no."""
        filled = self._filled

        def decided(yes: bool | None) -> None:
            if yes:
                self._with(filled, then)
            elif filled is not None:
                self.fill(filled.form, filled.then)

        question = self.admin.kept(ConfirmScreen)
        question.ask(act, what, words)
        self.app.push_screen(question, decided)

    def fill(self, form: Form, then: Then) -> None:
        """Shows a form; `then` gets its values, unless it is left. Where what `then` asks is refused, the form comes
        back as it was filled, and says why."""

        def filled(values: dict[str, str] | None) -> None:
            if values is not None:
                self._with(Filled(form.filled(values), then), lambda: then(values))

        screen = self.admin.kept(FormScreen)
        screen.ask(form)
        self.app.push_screen(screen, filled)

    def _with(self, filled: Filled | None, work: Callable[[], None]) -> None:
        """Does what came of a form, if of any."""
        self._filled = filled
        try:
            work()
        finally:
            self._filled = None

    # Time

    def start(self) -> None:
        """Shows what there is to show."""
        self.load()

    def on_mount(self) -> None:
        self._fresh = self.is_current
        self.start()
        if self.every is not None:
            self._clock = self.set_interval(self.every, self.load, pause=not self.is_current)

    def on_screen_suspend(self, event: ScreenSuspend) -> None:
        super().on_screen_suspend(event)
        if self._clock is not None:
            self._clock.pause()

    def on_screen_resume(self, event: ScreenResume) -> None:
        super().on_screen_resume(event)
        if not self.is_current:  # it is made ahead
            return
        if self._clock is not None:
            self._clock.resume()
        if self._jobs and not self._fresh:
            self.load()
        self._fresh = False

    def action_reload(self) -> None:
        self.load()


def _words(error: NexeonError) -> str:
    """With what a gateway that did not answer may have done."""
    if not isinstance(error, AdminUnreachable):
        return str(error)
    return f"{error}" + (
        ".\nIt may have been done all the same: look before you send it again."
        if error.sent
        else ".\nNothing was done."
    )
