"""Documents that are made from schemas are what the schemas say now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_configuration_page_is_up_to_date() -> None:
    path = ROOT / "tests/tools/configuration_docs.py"
    spec = importlib.util.spec_from_file_location("configuration_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == module.document()
