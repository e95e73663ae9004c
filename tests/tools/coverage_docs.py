"""`docs/coverage.md`, made from the mappings and their policies. `make docs` writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from nexeon.mapping.coverage import Covered, covered
from nexeon.mapping.library import load_library
from nexeon.mapping.schemas import Schemas

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs/coverage.md"
HEAD = """\
# What each format can say

Made from `mappings/` by `make docs`; a test fails where they differ, and `nexeon check --coverage` fails where a field
has neither a mapping nor a policy.

- **mapped**: the value reaches the other side (models and providers that take less are rows of `mappings/dialects/`)
- **emulated**: its effect does, by other means
- **dropped**: left out; a request's are named in `x-nexeon-dropped`, and refused with `x-nexeon-strict: true`
- **rejected**: the request is answered with 400, since its answer would mean something else
- **ignored**: it means nothing there, so nothing is lost
- **carried**: kept for the format it came from, and written back to it; dropped elsewhere
"""


def document() -> str:
    """The whole page."""
    library, schemas = load_library([ROOT / "mappings"]), Schemas(ROOT / "schemas")
    found = {name: list(covered(form, schemas)) for name, form in sorted(library.formats.items())}
    lines = [HEAD]
    for section, title in (("request", "Requests"), ("response", "Answers"), ("stream", "Streams")):
        lines += [
            f"## {title}, from the canonical form",
            "",
            f"| field | {' | '.join(f'`{name}`' for name in found)} |",
            f"|---|{'---|' * len(found)}",
        ]
        lines += table({name: select(rows, section, "encode") for name, rows in found.items()})
        lines += ["", f"## {title}, into the canonical form", ""]
        for name, rows in found.items():
            lines += own(name, select(rows, section, "decode"))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def select(rows: Iterable[Covered], section: str, direction: str) -> dict[str, str]:
    """What becomes of each field of one side."""
    return {
        one.path: one.verdict or "**nothing**" for one in rows if one.section == section and one.direction == direction
    }


def table(columns: dict[str, dict[str, str]]) -> Iterator[str]:
    """One row for each canonical field; a field below one that is not mapped stands for nothing of its own."""
    for path in sorted({path for column in columns.values() for path in column}, key=order):
        yield f"| `{path}` | {' | '.join(column.get(path, '·') for column in columns.values())} |"


def order(path: str) -> tuple[int, str]:
    """The request's own fields before the parts that stand in many places."""
    parts = ("turns", "blocks", "sources", "citations", "logprobs", "tools")
    first = path.replace("[", ".").partition(".")[0]
    return (parts.index(first) + 1 if first in parts and "." in path else 0, path)


def own(name: str, verdicts: dict[str, str]) -> Iterator[str]:
    """How many of a format's own fields are mapped, and the names of the others."""
    counts = Counter(verdicts.values())
    yield f"### `{name}`: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    yield ""
    for verdict in ("carried", "emulated", "dropped", "rejected", "ignored"):
        names = [path for path, found in verdicts.items() if found == verdict]
        if names:
            yield f"- {verdict}: " + ", ".join(f"`{path}`" for path in sorted(names))
    yield ""


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
