"""`python -m nexeon.mapping cases [FOLDER]…`: runs mapping cases while one writes a mapping."""

from __future__ import annotations

import sys
from pathlib import Path

from nexeon.errors import MappingError, Problem
from nexeon.mapping.cases import read_cases, run_case
from nexeon.mapping.library import load_library
from nexeon.mapping.schemas import Schemas


def main(arguments: list[str]) -> int:
    """Exit code 0 where every case holds."""
    if not arguments or arguments[0] != "cases":
        print(__doc__, file=sys.stderr)
        return 2
    schemas = Schemas(Path("schemas"))
    try:
        library = load_library([Path("mappings")], schemas.document("mapping.schema.json"))
    except MappingError as error:
        print(error, file=sys.stderr)
        return 1
    failed = count = 0
    for folder in arguments[1:] or ["mappings/tests"]:
        for case in read_cases(Path(folder)):
            count += 1
            found = case if isinstance(case, Problem) else run_case(case, library, schemas)
            if found is not None:
                failed += 1
                print(found)
    print(f"{count - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
