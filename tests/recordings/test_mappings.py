"""Every recorded answer through the mappings, for clients of every format."""

from __future__ import annotations

import pytest

from nexeon.errors import NexeonError

from . import engine
from .cases import CHAT, FORMATS, PROVIDER_APIS, Case, Exceptions
from .judge import enter, judge
from .tally import Tally, expect_none

LAYER = "mappings"


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("provider_api", PROVIDER_APIS)
def test_an_answer_says_what_was_recorded(
    provider_api: str, client: str, cases: list[Case], exceptions: Exceptions, tally: Tally
) -> None:
    failures: list[str] = []
    for case in cases:
        if case.provider_api != provider_api:
            continue
        try:
            said = engine.stream(case, client) if case.stream else engine.answer(case, client)
        except NexeonError as error:
            failures.append(f"{case.name} → {client}: {error}")
            tally.count(LAYER, client, "text", "failed")
            continue
        failures += enter(tally, exceptions, LAYER, case, client, judge(case, client, said))
        if client == CHAT and case.stream:
            said = engine.stream(case, client, usage=False)
            verdicts = judge(case, client, said, usage=False)
            failures += enter(tally, exceptions, LAYER, case, client, {"grammar": verdicts["grammar"]})
    expect_none(failures)


def test_every_provider_has_cases(cases: list[Case]) -> None:
    assert {case.provider_api for case in cases} == set(PROVIDER_APIS)
