"""Trying a provider key."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from nexeon.config import Config, load_config
from nexeon.errors import AdminError
from nexeon.gateway.pool.probe import probe
from nexeon.store.records import ProviderKey

KEY = ProviderKey("pk_1", "one", "default", 0.0, "", "")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "providers:\n"
        "  one:\n"
        "    base_url: http://127.0.0.1:9/v1\n"
        "    formats: [openai.chat]\n"
        '    auth: {header: X-Key, value: "Bearer {{ key }}"}\n'
        "    headers: {X-Version: '7'}\n"
        "    probe: /who\n"
    )
    return load_config([path])


@pytest.mark.parametrize(
    ("status", "ok", "words"),
    [
        (200, True, "takes the key"),
        (401, False, "refuses the key (401)"),
        (400, False, "refuses the key (400)"),
        (429, False, "limits the key"),
        (404, False, "does not tell"),
        (503, False, "does not tell"),
        (302, False, "does not tell"),
    ],
)
async def test_the_answer_tells_whether_the_key_is_good(config: Config, status: int, ok: bool, words: str) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, text="sk-leaked")

    result = await probe(config, transport=lambda provider: httpx.MockTransport(answer))(KEY, "sk-secret")
    assert (result["ok"], result["status"], words in result["message"]) == (ok, status, True)
    assert "sk-" not in str(result)
    assert (seen[0].method, str(seen[0].url)) == ("GET", "http://127.0.0.1:9/v1/who")
    assert (seen[0].headers["x-key"], seen[0].headers["x-version"]) == ("Bearer sk-secret", "7")


async def test_a_provider_that_cannot_be_reached_is_said(config: Config) -> None:
    result = await probe(config)(KEY, "sk-secret")
    assert result == {"ok": False, "status": None, "message": "http://127.0.0.1:9/v1 cannot be reached"}


async def test_a_key_of_a_provider_that_is_gone_is_refused(config: Config) -> None:
    with pytest.raises(AdminError, match="no provider `two`"):
        await probe(config)(ProviderKey("pk_2", "two", "default", 0.0, "", ""), "sk-secret")
