"""Counting tokens before a request is made, by the official SDKs, against every upstream."""

from __future__ import annotations

import httpx
import pytest
from anthropic import NotFoundError
from openai import BadRequestError

COUNTED = {
    "openai:openai.responses",
    "openai:openai.chat",
    "anthropic:anthropic.messages",
    "gemini:gemini.generate_content",
}
"""The upstreams that count for themselves."""

TEXT = "Count these words, please. " * 20


def balance(gateway):
    answer = httpx.get(f"{gateway.url}/v1/me", headers={"authorization": f"Bearer {gateway.key}"})
    return answer.json()["balance"]


def told(raw, upstream):
    """Whose count it is."""
    assert raw.headers.get("x-nexeon-estimated") == (None if upstream.model in COUNTED else "true")
    assert raw.headers["x-nexeon-model"] == upstream.model
    return raw.parse()


def test_messages(anthropic, gateway, upstream, parameters):
    before = balance(gateway)
    options = {"model": upstream.model, "messages": [{"role": "user", "content": TEXT}]}
    few = told(anthropic.messages.with_raw_response.count_tokens(**options), upstream).input_tokens
    tools = [{"name": "get_weather", "description": "Tells. " * 50, "input_schema": parameters}]
    more = told(anthropic.messages.with_raw_response.count_tokens(tools=tools, system=TEXT, **options), upstream)
    assert 60 < few < 400
    assert more.input_tokens > few + 100
    assert balance(gateway) == before


def test_responses(openai, upstream):
    raw = openai.responses.input_tokens.with_raw_response.count(model=upstream.model, input=TEXT)
    few = told(raw, upstream)
    assert few.object == "response.input_tokens"
    assert 60 < few.input_tokens < 400
    first = openai.responses.create(model=upstream.model, input=TEXT)
    more = openai.responses.input_tokens.count(model=upstream.model, input="And on", previous_response_id=first.id)
    assert more.input_tokens > few.input_tokens


def test_gemini(google, upstream):
    answer = google.models.count_tokens(model=upstream.model, contents=TEXT)
    assert 60 < answer.total_tokens < 400
    assert answer.sdk_http_response.headers.get("x-nexeon-estimated") == (None if upstream.model in COUNTED else "true")


def test_refused(anthropic, openai):
    with pytest.raises(NotFoundError, match="not available"):
        anthropic.messages.count_tokens(model="nobody", messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(BadRequestError) as caught:
        openai.responses.input_tokens.count(model="gpt-5", input="Hi", previous_response_id="resp_nex-none")
    assert caught.value.code == "previous_response_not_found"


def test_own_count_is_what_is_charged(anthropic, upstream):
    """What the provider counts before is what it counts after; only an estimate may be wrong."""
    if upstream.model not in COUNTED:
        pytest.skip("the provider has no counter")
    options = {"model": upstream.model, "messages": [{"role": "user", "content": TEXT}]}
    count = anthropic.messages.count_tokens(**options)
    assert anthropic.messages.create(max_tokens=10, **options).usage.input_tokens == count.input_tokens
