"""What every client shares: the printed line, the list of models, and each shipped model in each format."""

from __future__ import annotations

import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import anthropic as anthropic_sdk
import httpx
import openai as openai_sdk
import orjson
import pytest
import yaml
from google import genai
from google.genai import types
from google.genai.errors import ClientError

from tests.patience import PATIENCE

ASK = "Please call the tool get_weather"
ARGUMENTS = {"city": "example", "days": 1}
SHIPPED = list(yaml.safe_load((Path(__file__).parents[2] / "gateway.yaml").read_text())["models"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_printed_line_works_as_pasted(gateway):
    done = subprocess.run(gateway.curl, shell=True, capture_output=True, timeout=PATIENCE, check=True)
    assert orjson.loads(done.stdout)["choices"][0]["message"]["content"].startswith("Echo:")


def test_openai_models(openai):
    models = {model.id: model for model in openai.models.list()}
    assert set(SHIPPED) <= set(models)
    for name in ("gpt-5", "anthropic/claude-sonnet-4.6"):
        assert openai.models.retrieve(name) == models[name]
    assert (models["gpt-5"].object, models["gpt-5"].owned_by) == ("model", "openai")
    assert models["gpt-5"].created > 0
    with pytest.raises(openai_sdk.NotFoundError) as caught:
        openai.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"


def test_anthropic_models(anthropic):
    models = {model.id: model for model in anthropic.models.list(limit=1000)}
    assert set(SHIPPED) <= set(models)
    found = anthropic.models.retrieve("claude-sonnet-4-6")
    assert found == models["claude-sonnet-4-6"]
    assert (found.type, bool(found.display_name), found.created_at.year) == ("model", True, 2026)
    with pytest.raises(anthropic_sdk.NotFoundError):
        anthropic.models.retrieve("nobody")


def test_anthropic_pages_of_models(anthropic):
    everything = [model.id for model in anthropic.models.list()]
    page = anthropic.models.list(limit=7)
    assert ([model.id for model in page.data], page.has_more, page.last_id) == (everything[:7], True, everything[6])
    assert [model.id for model in page] == everything
    page = anthropic.models.list(limit=2, before_id=everything[5])
    assert [model.id for model in page.data] == everything[3:5]


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_gemini_models(gateway, version):
    google = genai.Client(api_key=gateway.key, http_options={"base_url": gateway.url, "api_version": version})
    pages = google.models.list(config={"page_size": 7})
    assert len(pages.page) == 7
    models = {model.name: model for model in pages}
    assert {f"models/{name}" for name in SHIPPED} <= set(models)
    found = google.models.get(model="gemini-2.5-pro")
    assert (found.name, found.input_token_limit) == ("models/gemini-2.5-pro", 1048576)
    assert "countTokens" in found.supported_actions
    with pytest.raises(ClientError) as caught:
        google.models.get(model="nobody")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_every_call_is_charged(gateway, openai, upstream):
    def balance():
        me = httpx.get(f"{gateway.url}/v1/me", headers={"x-api-key": gateway.key}).json()
        return Decimal(me["balance"])

    before = balance()
    usage = openai.chat.completions.create(model=upstream.model, messages=[{"role": "user", "content": "Hi"}]).usage
    # upstreams.yaml: 1 USD per million tokens of input, 2 of output
    assert before - balance() == Decimal(usage.prompt_tokens + 2 * usage.completion_tokens) / 1_000_000


@pytest.mark.parametrize("model", SHIPPED)
def test_chat(openai, model, parameters):
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    messages = [{"role": "user", "content": ASK}]
    answer = openai.chat.completions.create(model=model, messages=messages, tools=[tool], max_tokens=200)
    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"


@pytest.mark.parametrize("model", SHIPPED)
def test_responses(openai, model, parameters):
    tool = {"type": "function", "name": "get_weather", "parameters": parameters}
    answer = openai.responses.create(model=model, input=ASK, tools=[tool], max_output_tokens=200)
    assert [item.name for item in answer.output if item.type == "function_call"] == ["get_weather"]


@pytest.mark.filterwarnings("ignore:The model '.*' is deprecated:DeprecationWarning")
@pytest.mark.parametrize("model", SHIPPED)
def test_messages(anthropic, model, parameters):
    tool = {"name": "get_weather", "input_schema": parameters}
    messages = [{"role": "user", "content": ASK}]
    answer = anthropic.messages.create(model=model, max_tokens=200, messages=messages, tools=[tool])
    assert [block.input for block in answer.content if block.type == "tool_use"] == [ARGUMENTS]


@pytest.mark.parametrize("model", SHIPPED)
def test_gemini(google, model, parameters):
    declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=parameters)
    off = types.AutomaticFunctionCallingConfig(disable=True)
    tool = types.Tool(function_declarations=[declared])
    config = types.GenerateContentConfig(tools=[tool], automatic_function_calling=off, max_output_tokens=200)
    answer = google.models.generate_content(model=model, contents=ASK, config=config)
    assert [call.args for call in answer.function_calls] == [ARGUMENTS]
