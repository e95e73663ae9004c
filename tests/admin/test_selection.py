"""Records found by a part of their texts, which are kept from one search to the next."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from nexeon.admin import selection
from nexeon.admin.selection import Texts


@dataclass(frozen=True)
class Named:
    id: str
    name: str


def texts(each: Named) -> tuple[str, ...]:
    return each.name, each.id


async def select(
    every: list[Named], search: str, after: str | None, limit: int, texts: Callable[[Named], tuple[str, ...]]
) -> tuple[list[Named], str | None]:
    """What is to be found, by asking each record."""
    start = next((place for place, each in enumerate(every, 1) if each.id == after), 0)
    wanted = search.casefold()
    found = [each for each in every[start:] if any(wanted in text.casefold() for text in texts(each))]
    return found[:limit], found[limit - 1].id if len(found) > limit else None


@pytest.mark.parametrize("seed", range(5))
async def test_kept_texts_find_what_asking_each_record_finds(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(selection, "_SLICE", 7)
    dice = random.Random(seed)
    kept: Texts[Named] = Texts(texts)
    every = [Named(f"id_{number:03}", "".join(dice.choices("abÄß", k=3))) for number in range(60)]
    for number in range(60, 100):
        act = dice.randrange(3)
        place = dice.randrange(len(every))
        if act == 0:
            every.append(Named(f"id_{number:03}", "".join(dice.choices("abÄß", k=3))))
        elif act == 1:
            every[place] = replace(every[place], name=dice.choice(("aa", "bÄ", "ssb")))
        else:
            del every[place]
        for search in ("a", "äss", "SS", "0", "id_03", "zz"):
            marked = set(dice.choices(every, k=3))
            limit = dice.choice((1, 4, 100))
            after = dice.choice((None, every[dice.randrange(len(every))].id))
            assert await kept.select(list(every), search, after, limit) == await select(
                every, search, after, limit, texts
            )
            found, _ = await kept.select(list(every), search, None, 1000, marked.__contains__)
            wanted = search.casefold()
            assert found == [
                each for each in every if each in marked or any(wanted in t.casefold() for t in texts(each))
            ]


async def test_only_what_has_changed_is_joined_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_SLICE", 10)
    asked: list[str] = []

    def told(each: Named) -> tuple[str, ...]:
        asked.append(each.id)
        return texts(each)

    kept = Texts(told)
    every = [Named(str(number), "x") for number in range(100)]
    for _ in range(2):
        assert await kept.select(list(every), "nobody", None, 10) == ([], None)
    assert len(asked) == 100
    every[55] = Named("55", "somebody")
    assert await kept.select(list(every), "body", None, 10) == ([every[55]], None)
    assert len(asked) == 110
