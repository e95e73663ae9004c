"""What the whole tree promises: Python names no provider, nothing names a machine or a registry."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from nexeon.config import load_config
from nexeon.data import data_path

ROOT = Path(__file__).parents[1]
FAMILIES = (
    "openai",
    "anthropic",
    "claude",
    "gemini",
    "google",
    "deepseek",
    "openrouter",
    "xai",
    "grok",
    "gpt",
    "chatcmpl",
)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_python_names_no_provider_format_or_model_family() -> None:
    names = re.compile(
        rf"\b({'|'.join(FAMILIES)})|({'|'.join(name for name in FAMILIES if name != 'xai')})", re.IGNORECASE
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in ("nexeon", "tui")
        for path in sorted((ROOT / package).rglob("*.py"))
        if "sandbox" not in path.relative_to(ROOT).parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if names.search(line)
    ]
    assert found == []


def test_the_families_above_are_those_of_the_configuration() -> None:
    config = load_config([data_path("gateway.yaml")], environ={"HOME": "/nowhere"})
    names = {*config.providers, *(model.owned_by for model in config.models.values())}
    unknown = sorted(name for name in names if not any(family in name.lower() for family in FAMILIES))
    # owners of models that only an aggregator serves
    assert set(unknown) <= {
        "meta",
        "meta-llama",
        "mistralai",
        "mistral",
        "qwen",
        "moonshotai",
        "z-ai",
        "minimax",
        "microsoft",
        "nvidia",
        "cohere",
        "amazon",
        "perplexity",
    }


def test_nothing_that_installs_names_a_host() -> None:
    """Packages come from wherever the machine's own package clients are set up to look."""
    installers = [ROOT / "constraints.txt", ROOT / "Makefile", ROOT / ".ci/run", *ROOT.glob("tests/sdk/node/*.json")]
    assert [path.name for path in installers if "://" in path.read_text(encoding="utf-8")] == []


def test_nothing_names_this_machine() -> None:
    here = f"{ROOT}/"
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix not in (".png", ".svg", ".gz")
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if here in line
    ]
    assert found == []
