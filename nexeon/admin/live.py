"""What happens now, for whoever watches: traffic, today's spend, and what needs attention."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from nexeon.admin import values
from nexeon.admin.provider_keys import KeptPool, Pool
from nexeon.admin.requests import kept
from nexeon.admin.traffic import LONGEST, Traffic
from nexeon.admin.usage import Usage
from nexeon.admin.values import iso
from nexeon.admin.views import View
from nexeon.errors import AdminError, StoreError
from nexeon.store.money import to_nano, to_usd
from nexeon.store.protocol import Store
from nexeon.store.requests import RequestLog

_SPEND_EVERY: Final = 5.0
_ACCOUNTS_EVERY: Final = 15.0
_SLICE: Final = 500
_MOST_PROBLEMS: Final = 100


class Watched(Protocol):
    """A running gateway, as those who watch see it."""

    @property
    def url(self) -> str:
        """Where it answers, "" before it does."""
        ...

    @property
    def running(self) -> int:
        """Requests under way."""
        ...

    def targets(self) -> Mapping[tuple[str, str, str | None], Mapping[str, Any]]:
        """By (provider, its name of the model, format or None): `{"open", "failures", "latency"}`, where latency is in
        seconds and None where it is not known. Those that have been called."""
        ...


class Live:
    def __init__(self, store: Store, usage: Usage, log: RequestLog | None, pool: Pool | KeptPool) -> None:
        """`watched` is set by a gateway, and `reloaded`, which tells how its last reload went."""
        self.watched: Watched | None = None
        self.reloaded: Callable[[], View | None] = lambda: None
        self._store = store
        self._usage = usage
        self._log = log
        self._pool = pool
        self._traffic = Traffic(log) if log is not None else None
        self._spend: str | None = None
        self._spent_at = 0.0
        self._spending: asyncio.Task[None] | None = None
        self._accounts: list[View] = []
        self._accounts_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def show(self, *, span: Any = 300, points: Any = 60) -> View:
        """The last `span` seconds in `points` parts: a second's requests, errors, tokens and spend (USD), seconds until
        answers began (`first_p50`, `first_p95`, None where none did); the busiest models and providers; today's spend
        (UTC; None while it is counted); problems.

        `traffic` is None where no log of requests is kept, `running` where no gateway is asked.
        """
        length, parts = values.count("span", span, least=1), values.count("points", points, least=1)
        if length > LONGEST or parts > min(length, 600):
            raise AdminError(f"span: at most {LONGEST} seconds, in at most 600 points of a second or more")
        self._count_in_background()
        if isinstance(self._pool, KeptPool):
            await self._pool.load()
        traffic = None
        if self._traffic is not None and kept(self._log) is not None:
            traffic = await self._traffic.figures(length, parts)
        return {
            "now": iso(time.time()),
            "url": self.watched.url if self.watched is not None else None,
            "running": self.watched.running if self.watched is not None else None,
            "traffic": traffic,
            "spend_today": self._spend,
            "problems": await self._problems(),
        }

    async def close(self) -> None:
        for task in (self._spending, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _problems(self) -> list[View]:
        """Each is of a `kind` (configuration, provider_key, target, account, log), `id` and `name` say what it is
        about."""
        names = {key.id: f"{key.provider} {key.label or key.id}" for key in await self._store.all_provider_keys()}
        states = self._pool.states().items()
        found = _configuration(self.reloaded())
        found += [
            _problem("provider_key", key, _key_words(state), state=state["state"], name=names.get(key, key))
            for key, state in sorted(states, key=lambda item: (item[1]["state"] != "removed", item[0]))
            if state["state"] in ("removed", "cooling")
        ]
        if self.watched is not None:
            for (provider, model, _), state in sorted(self.watched.targets().items(), key=str):
                if state["open"]:
                    words = f"left alone after {state['failures']} failures in a row"
                    found.append(_problem("target", model, words, state="open", name=f"{provider}/{model}"))
        found += self._accounts
        if self._log is not None and self._log.dropped:
            words = f"{self._log.dropped} records were dropped since the start"
            found.append(_problem("log", "", words, state="dropped", name="the log of requests"))
        return found[:_MOST_PROBLEMS]

    def _count_in_background(self) -> None:
        """Today's spend and the accounts, which may take longer than a screen can wait."""
        now = time.monotonic()
        if (self._spending is None or self._spending.done()) and (
            not self._spent_at or now - self._spent_at > _SPEND_EVERY
        ):
            self._spending = asyncio.get_running_loop().create_task(self._count_spend())
        if (self._looking is None or self._looking.done()) and (
            not self._accounts_at or now - self._accounts_at > _ACCOUNTS_EVERY
        ):
            self._looking = asyncio.get_running_loop().create_task(self._look_at_accounts())

    async def _count_spend(self) -> None:
        today = datetime.now(UTC).date().isoformat()
        try:
            page = await self._usage.list(by="day", since=today)
        except StoreError:
            self._spend = None
        else:
            self._spend = to_usd(sum(to_nano(item["cost"]) for item in page["items"]))
        self._spent_at = time.monotonic()

    async def _look_at_accounts(self) -> None:
        found = []
        try:
            every: Sequence[Any] = await self._store.accounts()
            for number, account in enumerate(every, 1):
                if number % _SLICE == 0:
                    await asyncio.sleep(0)
                if account.disabled:
                    continue
                available = (await self._store.balance(account.id)).available
                if account.soft_limit is not None and available < account.soft_limit:
                    words = f"{to_usd(available)} USD available, less than {to_usd(account.soft_limit)}"
                    found.append(_problem("account", account.id, words, state="low", name=account.name))
                elif available <= 0:
                    found.append(_problem("account", account.id, "no credit left", state="empty", name=account.name))
                if len(found) >= _MOST_PROBLEMS:
                    break
        except StoreError:
            return
        self._accounts, self._accounts_at = found, time.monotonic()


def _problem(kind: str, id: str, words: str, *, state: str, name: str) -> View:
    return {"kind": kind, "id": id, "name": name, "state": state, "words": words}


def _configuration(last: View | None) -> list[View]:
    """What the last reading of the configuration left undone."""
    if last is None:
        return []
    name = "the configuration"
    if last["outcome"] == "refused":
        told = last["problems"]
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        return [_problem("configuration", "", f"not taken up: {told[0]}{more}", state="refused", name=name)]
    if last["restart"]:
        words = f"not yet in force: {'; '.join(last['restart'])}"
        return [_problem("configuration", "", words, state="waiting", name=name)]
    return []


def _key_words(state: Mapping[str, Any]) -> str:
    of = f" for {state['model']}" if state.get("model") else ""
    wait = f", {state['wait']:.0f} s to go" if state.get("wait") else ""
    return f"{state['state']}{of}: {state.get('reason') or 'no reason is known'}{wait}"
