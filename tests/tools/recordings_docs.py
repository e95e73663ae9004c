"""`docs/recordings.md`, made from recorded provider traffic: `make docs RECORDINGS=DIR` writes it."""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from nexeon.errors import NexeonError
from tests.recordings import engine
from tests.recordings.cases import FORMATS, PROVIDER_APIS, Case, Exceptions, core_cases
from tests.recordings.compare_requests import unreported
from tests.recordings.judge import ASPECTS, judge
from tests.recordings.read_requests import read_request
from tests.recordings.request_types import request_problem
from tests.recordings.test_requests import MAKERS, TARGETS

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs/recordings.md"
LAYER = "mappings"
HEAD = """\
# What recorded traffic shows

{number} exchanges that were recorded with real providers (set `{mark}`), told to clients of every format.

Made by `make docs RECORDINGS=DIR`. `make test RECORDINGS=DIR` judges each of them (`tests/recordings`), sends them
through a live gateway as well, where the charge is judged, too, and fails where this page is out of date.

A number is how many were judged and held; `a/b`: a of b held; `+n`: n more cannot hold, for the reasons below.

- **text** (refusals too), **reasoning**, **calls** (names, ids, arguments), **finish**, **usage**: what a client reads
  is what was recorded
- **citations**: every cited address arrives; **server tools**: so does every call of search, code and MCP tools (Chat
  has no words for them, Gemini none for MCP); **seals**: every signature and encrypted thought, as it was or enveloped,
  but for those on mere text and on a provider's own tool parts, which need not return. Seals on calls have no place in
  Messages and Responses: for their clients a stash on the gateway gives them back, which these numbers do not show
- **types**: the answer has the types of the maker's SDK; **grammar**: the stream's events come in the format's order
"""
REQUESTS = """\
## Requests

Every recorded request, said in every other format to the providers that speak it: **preserved** says everything that it
said, **reported** all but what `x-nexeon-dropped` names, **rejected** is answered with 400 and the field's name (for a
reason listed below), **silent** lost something without a word. **valid**: the body has the types of the maker's SDK.

| format | provider | model | requests | preserved | reported | rejected | silent | valid |
|---|---|---|--:|--:|--:|--:|--:|--:|"""


def document(recordings: Path) -> str:
    """The whole page."""
    cases = core_cases(recordings)
    exceptions = Exceptions(ROOT / "tests/recordings/exceptions.yaml")
    lines = [HEAD.format(number=len(cases), mark=mark(cases))]
    for client in FORMATS:
        lines += [f"## Answers, told to clients of `{client}`", ""]
        lines += answers(client, cases, exceptions)
        lines.append("")
    lines += [REQUESTS, *requests(cases), "", "### Why a request is rejected", ""]
    lines += reasons(ROOT / "tests/recordings/refusals.yaml")
    lines += ["", "## What cannot hold", ""]
    lines += excuses(ROOT / "tests/recordings/exceptions.yaml")
    return "\n".join(lines).rstrip() + "\n"


def mark(cases: list[Case]) -> str:
    """Tells one set of recordings from another."""
    names = "\n".join(sorted(case.name for case in cases))
    return hashlib.sha256(names.encode()).hexdigest()[:12]


def answers(client: str, cases: list[Case], exceptions: Exceptions) -> Iterator[str]:
    """One row for each provider and format that was recorded."""
    yield f"| recorded | answers | {' | '.join(ASPECTS)} |"
    yield f"|---|--:|{'--:|' * len(ASPECTS)}"
    whole: Counter[tuple[str, str]] = Counter()
    for provider_api in PROVIDER_APIS:
        mine = [case for case in cases if case.provider_api == provider_api]
        counts: Counter[tuple[str, str]] = Counter()
        for case in mine:
            for aspect, verdict in verdicts(case, client, exceptions):
                counts[aspect, verdict] += 1
        whole += counts
        yield row(provider_api, len(mine), counts)
    yield row("**all**", len(cases), whole)


def verdicts(case: Case, client: str, exceptions: Exceptions) -> Iterator[tuple[str, str]]:
    """(aspect, held | failed | excused)"""
    try:
        said = engine.stream(case, client) if case.stream else engine.answer(case, client)
    except NexeonError:
        yield "text", "failed"
        return
    for aspect, wrong in judge(case, client, said).items():
        reason = exceptions.reason(case.name, aspect, client, LAYER)
        yield aspect, "excused" if reason else "failed" if wrong else "held"


def row(name: str, number: int, counts: Counter[tuple[str, str]]) -> str:
    return f"| {name} | {number} | {' | '.join(cell(counts, aspect) for aspect in ASPECTS)} |"


def cell(counts: Counter[tuple[str, str]], aspect: str) -> str:
    held, failed, excused = (counts[aspect, verdict] for verdict in ("held", "failed", "excused"))
    if not held + failed + excused:
        return "·"
    text = str(held) if not failed else f"{held}/{held + failed}"
    return f"{text} +{excused}" if excused else text


def requests(cases: list[Case]) -> Iterator[str]:
    """One row for each target."""
    for provider, target, model in TARGETS:
        counts: Counter[str] = Counter()
        mine = [case for case in cases if case.request is not None and case.format != target]
        for case in mine:
            counts[fate(case, provider, target, model, counts)] += 1
        said = counts["valid"] + counts["invalid"]
        valid = "·" if not said else str(said) if not counts["invalid"] else f"{counts['valid']}/{said}"
        cells = [counts["preserved"], counts["reported"], counts["rejected"], counts["silent"]]
        name = "any, by the format alone" if provider is None else provider
        shown = "" if provider is None else f"`{model}`"
        yield f"| `{target}` | {name} | {shown} | {len(mine)} | {' | '.join(map(str, cells))} | {valid} |"


def fate(case: Case, provider: str | None, target: str, model: str, counts: Counter[str]) -> str:
    up = engine.upstream(case, provider, target, model)
    if up.refused:
        return "rejected"
    assert case.request is not None
    if provider in MAKERS:
        counts["invalid" if request_problem(target, up.body) else "valid"] += 1
    before, after = read_request(case.format, case.request), read_request(target, up.body)
    if unreported(before, after, up.dropped):
        return "silent"
    return "reported" if unreported(before, after, []) else "preserved"


def reasons(path: Path) -> Iterator[str]:
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        yield f"- {sentence(entry['reason'])}"


def excuses(path: Path) -> Iterator[str]:
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        where = f" ({', '.join(entry['layers'])})" if "layers" in entry else ""
        yield f"- **{entry['judge']}**{where}: {sentence(entry['reason'])}"
        yield from (f"    - `{case}`" for case in entry["cases"])


def sentence(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def main(arguments: Iterable[str]) -> None:
    (folder,) = arguments
    TARGET.write_text(document(Path(folder).resolve()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
