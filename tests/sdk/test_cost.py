"""What a call costs, told to the official SDKs beside the usage of a stream: they bear it, and most show it."""

from __future__ import annotations

import httpx
import pytest

from tests.patience import PATIENCE

ASK = {"x-nexeon-cost": "true"}
SAY = [{"role": "user", "content": "Hello!"}]
CHOSEN = {"openai:openai.responses", "anthropic:anthropic.messages", "gemini:gemini.generate_content"}


@pytest.fixture(autouse=True)
def few(upstream):
    """Every format on the provider's side is enough."""
    if upstream.model not in CHOSEN | {"deepseek:openai.chat"}:
        pytest.skip("its format is told by another provider")


@pytest.fixture
def spent(gateway):
    """What the account has spent since, in USD; once the calls are settled."""

    def balance():
        with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {gateway.key}"}) as http:
            return float(http.get("/v1/me").json()["balance"])

    before = balance()
    return lambda: before - balance()


def test_chat(openai, upstream, spent):
    stream = openai.chat.completions.create(model=upstream.model, messages=SAY, stream=True, extra_headers=ASK)
    told = [chunk.usage for chunk in stream if chunk.usage is not None]
    assert told[-1].cost > 0
    assert told[-1].cost == pytest.approx(spent())


def test_responses(openai, upstream, spent):
    with openai.responses.stream(model=upstream.model, input="Hello!", extra_headers=ASK) as stream:
        answer = stream.get_final_response()
    assert answer.usage.cost > 0
    assert answer.usage.cost == pytest.approx(spent())


def test_messages(anthropic, upstream, spent):
    stream = anthropic.messages.create(
        model=upstream.model, max_tokens=100, messages=SAY, stream=True, extra_headers=ASK
    )
    told = [event.usage for event in stream if event.type == "message_delta"]
    assert told[-1].cost > 0
    assert told[-1].cost == pytest.approx(spent())


def test_gemini(google, gateway, upstream, spent):
    chunks = list(google.models.generate_content_stream(
        model=upstream.model, contents="Hello!", config={"http_options": {"headers": ASK}}
    ))  # fmt: skip
    assert chunks[-1].usage_metadata.total_token_count > 0, "the SDK bears it, and leaves it out"
    spent()
    headers = {"authorization": f"Bearer {gateway.key}", **ASK}
    url = f"{gateway.url}/v1beta/models/{upstream.model}:streamGenerateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello!"}]}]}
    events = httpx.post(url, json=body, headers=headers, timeout=PATIENCE).json()
    assert events[-1]["usageMetadata"]["cost"] * 2 == pytest.approx(spent())
