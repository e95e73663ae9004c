"""What a key may do, by its models and scopes."""

from __future__ import annotations

from typing import Any

import pytest

from nexeon.store.permission import parse_scopes, permitted
from nexeon.store.records import ApiKey


def key(*scopes: str, models: tuple[str, ...] = ()) -> ApiKey:
    return ApiKey("key_1", "acc_1", "k", 0.0, "h", "", models=models, scopes=scopes)


@pytest.mark.parametrize(
    ("scopes", "asked", "allowed"),
    [
        ((), {"endpoint": "/v1/x", "provider": "p", "ip": "1.2.3.4", "write": True}, True),
        (("read",), {"write": True}, False),
        (("read",), {"write": False, "endpoint": "/v1/models"}, True),
        (("endpoint:/v1/models*",), {"endpoint": "/v1/models/x"}, True),
        (("endpoint:/v1/models*",), {"endpoint": "/v1/chat"}, False),
        (("endpoint:/v1/a", "endpoint:/v1/b"), {"endpoint": "/v1/b"}, True),
        (("endpoint:/v1/a",), {"provider": "p"}, True),
        (("provider:eu-*",), {"provider": "eu-1"}, True),
        (("provider:eu-*",), {"provider": "us-1"}, False),
        (("ip:10.0.0.0/8",), {"ip": "10.9.8.7"}, True),
        (("ip:10.0.0.0/8",), {"ip": "::ffff:10.9.8.7"}, True),
        (("ip:10.0.0.0/8",), {"ip": "11.0.0.1"}, False),
        (("ip:10.0.0.0/8", "ip:fd00::/8"), {"ip": "fd00::1"}, True),
        (("ip:10.0.0.0/8",), {"ip": "not-an-address"}, False),
        (("ip:10.0.0.1",), {"ip": "10.0.0.1"}, True),
        (("of-a-newer-version",), {}, False),
    ],
)
def test_scopes_narrow(scopes: tuple[str, ...], asked: dict[str, Any], allowed: bool) -> None:
    assert (permitted(key(*scopes), **asked) is None) == allowed


def test_a_model_may_fit_by_any_of_its_names() -> None:
    small = key(models=("small-*",))
    assert permitted(small, model="small-1") is None
    assert permitted(small, model=("big", "small-b")) is None
    assert permitted(small, model="big") == "this API key may not use model 'big'"
    assert permitted(small) is None, "no model was asked for yet"


@pytest.mark.parametrize(
    "scope", ["write", "endpoint:v1", "endpoint:", "provider:", "ip:10.0.0.0/99", "ip:", "ip:10.1.1.1/8"]
)
def test_what_is_no_scope_is_named(scope: str) -> None:
    with pytest.raises(ValueError, match=scope):
        parse_scopes((scope,))
