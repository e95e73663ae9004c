"""What a format tells its clients about."""

from __future__ import annotations

import pytest

from nexeon.data import data_path
from nexeon.mapping import load_library


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("turns[2].blocks[0].source", "messages"),
        ("turns[*].name", "messages[*].name"),
        ("sampling.seed", "seed"),
        ("unheard.of", "unheard.of"),
    ],
)
def test_a_place_in_the_canonical_form_is_told_in_the_clients_words(path: str, name: str) -> None:
    form = load_library([data_path("mappings")]).formats["openai.chat"]
    assert form.param(path) == name
