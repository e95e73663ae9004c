"""The schemas know what the installed SDKs know, but for a list of reasons: an SDK's bump shows what was added."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
REASONS: dict[str, list[dict[str, Any]]] = yaml.safe_load((HERE / "drift.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drift() -> Any:
    spec = importlib.util.spec_from_file_location("drift", HERE / "drift.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("form", REASONS)
def test_what_the_sdk_knows_is_known_or_has_a_reason(form: str, drift: Any) -> None:
    skipped = "|".join(one["types"] for one in REASONS[form] if "types" in one) or "^$"
    excused = {name for one in REASONS[form] for name in one.get("names", ())}
    unknown = drift.unknown(form, skipped)
    assert unknown - excused == set(), "the SDK has these: describe them in the schema, map them, or say why not"
    assert excused - unknown == set(), "these reasons are not needed any more"
    definitions = drift.sdk_definitions(form)
    for one in REASONS[form]:
        if "types" in one:
            assert any(re.search(one["types"], name) for name in definitions), one["types"]


def test_every_format_is_watched(drift: Any) -> None:
    assert set(REASONS) == set(drift.SDK_TYPES)
    assert min(len(drift.sdk_names(form, "^$")) for form in REASONS) > 100
