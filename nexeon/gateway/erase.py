"""What accounts that are deleted leave behind: their kept answers, and those that their idempotency keys keep."""

from __future__ import annotations

from nexeon.config import Idempotency
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.repeats.idempotency import Repeats
from nexeon.store.answers import AnswerStore, SQLiteAnswers
from nexeon.store.sqlite import Place


async def erase(answers: AnswerStore, repeats: Repeats, account: str) -> None:
    """Raises StoreError."""
    await answers.forget(account)
    await repeats.forget_account(account)


async def erase_in(place: Place, account: str) -> None:
    """The same in a store that no gateway has open. Raises StoreError."""
    answers, repeats = SQLiteAnswers(place), Repeats(Idempotency(), place, Metrics())
    try:
        await erase(answers, repeats, account)
    finally:
        await repeats.close()
        await answers.close()
