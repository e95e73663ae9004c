"""Documents that are made from schemas and mappings are what these say now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["configuration", "coverage"])
def test_a_page_is_up_to_date(page: str) -> None:
    path = ROOT / f"tests/tools/{page}_docs.py"
    spec = importlib.util.spec_from_file_location(f"{page}_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / f"docs/{page}.md").read_text(encoding="utf-8") == module.document()
