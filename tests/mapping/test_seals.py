from __future__ import annotations

import base64

import pytest

from nexeon.mapping.seals import close_envelope, is_envelope, make_seal, open_envelope

SEAL = {"provider": "p", "account": "a", "model": "m", "format": "f", "kind": "signature", "data": "öpaque>?"}


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_an_envelope_opens_from_base64_too(encode: object) -> None:
    assert callable(encode)
    wrapped = encode(close_envelope(SEAL).encode()).decode()
    assert is_envelope(wrapped)
    assert open_envelope(wrapped) == SEAL
    assert make_seal(wrapped, "signature", {"format": "g"}) == SEAL


def test_a_damaged_envelope_in_base64_is_none() -> None:
    wrapped = base64.b64encode(close_envelope(SEAL).encode()).decode()
    assert open_envelope(wrapped[:-9]) is None
    assert open_envelope(wrapped[:10] + "\u00fc") is None


def test_other_base64_is_no_envelope() -> None:
    assert not is_envelope(base64.b64encode(b"nxs2.abc").decode())
    assert open_envelope(base64.b64encode(b"anything").decode()) is None
