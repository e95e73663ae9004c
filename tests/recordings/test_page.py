"""`docs/recordings.md` says what these recordings show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.recordings_docs import TARGET, document, mark

from .cases import Case


def test_the_page_of_recordings_is_up_to_date(recordings: Path, cases: list[Case]) -> None:
    written = TARGET.read_text(encoding="utf-8")
    if mark(cases) not in written:
        pytest.skip("the page was made from other recordings")
    assert document(recordings) == written, "make docs RECORDINGS=DIR"


def test_the_page_shows_nothing_that_failed() -> None:
    written = TARGET.read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in written.splitlines() if line.startswith("|") and "|---" not in line]
    assert len(rows) > 50
    assert not [row for row in rows if any("/" in cell and "`" not in cell for cell in row)]
    header = next(row for row in rows if " silent " in row)
    requests = [row for row in rows if len(row) == len(header) and row[0].startswith(" `")]
    assert len(requests) > 10
    assert {row[header.index(" silent ")].strip() for row in requests} == {"0"}
