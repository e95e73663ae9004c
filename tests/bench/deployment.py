"""The gateway as shipped (its formats, limits, credits, ledger, log and metrics on) over the canned upstream."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WAYS = ("json", "burst", "first", "paced", "slow", "held")
"""How the upstream answers, see there."""

FORMATS = {
    "openai.chat": ("/v1", "/v1/chat/completions", "Authorization", "Bearer {{ key }}"),
    "openai.responses": ("/v1", "/v1/responses", "Authorization", "Bearer {{ key }}"),
    "anthropic.messages": ("/v1", "/v1/messages", "x-api-key", "{{ key }}"),
    "gemini.generate_content": ("/v1beta", "/v1beta/models/{model}:{verb}", "x-goog-api-key", "{{ key }}"),
}
"""Base path at the provider, path here, the key's header and what stands in it."""

SHORT = {
    "openai.chat": "chat",
    "openai.responses": "responses",
    "anthropic.messages": "messages",
    "gemini.generate_content": "gemini",
}
SILENCE = 36_000
"""Seconds for which streams that are held open may say nothing."""

PROMPT = "Say something that is fifty words long, please."


def model(way: str, upstream_format: str) -> str:
    return f"{way}-{SHORT[upstream_format]}"


def path(client_format: str, model_name: str, *, stream: bool = False) -> str:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return FORMATS[client_format][1].format(model=model_name, verb=verb)


def body(client_format: str, model_name: str, *, stream: bool = False, prompt: str = PROMPT) -> dict[str, Any]:
    """A short request."""
    asked: dict[str, Any]
    if client_format == "gemini.generate_content":
        return {
            "contents": [{"role": "user", "parts": [{"text": prompt}]}],
            "generationConfig": {"maxOutputTokens": 100},
        }
    if client_format == "openai.responses":
        asked = {"max_output_tokens": 100, "input": prompt, "store": False}
    else:
        asked = {"max_tokens": 100, "messages": [{"role": "user", "content": prompt}]}
    return {"model": model_name, **asked, **({"stream": True} if stream else {})}


def configuration(
    folder: Path,
    upstream: str,
    *,
    models: int = 0,
    provider_keys: int = 1,
    together: int = 4096,
    store: str | None = None,
    held: Mapping[str, str] | None = None,
) -> Path:
    """A model for each format and way of answering, and so many more. Each provider has so many keys, and takes so many
    calls at once; `store` is a URL, else in the folder. `held` are further models
    that answer that slowly, with the upstream of each."""
    providers: dict[str, Any] = {}
    entries: dict[str, Any] = {}
    ways = [(model(way, name), upstream, way, name) for way in WAYS for name in FORMATS]
    ways += [(name, url, "held", "openai.chat") for name, url in (held or {}).items()]
    for provider, url, way, name in ways:
        base, _, header, value = FORMATS[name]
        providers[provider] = {
            "base_url": f"{url}/{way}{base}",
            "formats": [name],
            "auth": {"header": header, "value": value},
            "api_key": "a-provider-key",
            "keys": [{"key": f"a-provider-key-{number}"} for number in range(1, provider_keys)],
            "max_connections": together,
            **({"timeouts": {"idle": SILENCE}} if way == "held" else {}),
        }
        entries[provider] = _model(provider)
    for number in range(models):
        entries[f"more-{number}"] = _model(model("json", "openai.chat"))
    path = folder / "gateway.yaml"
    value: dict[str, Any] = {
        "store": {"url": store or f"tinydb:{folder}/data"},
        "overload": {"running": together},
        "providers": providers,
        "models": entries,
    }
    if held is not None:  # a keep-alive costs what an event does, and all else is to be told from it
        value["server"] = {"keepalive": 0}
    path.write_text(json.dumps(value))
    return path


def _model(provider: str) -> dict[str, Any]:
    price = {"input": 1, "output": 2}
    return {
        "owned_by": "bench",
        "created": 1,
        "price": price,
        "targets": [{"provider": provider, "model": "bench"}],
    }


def make_key(nexeon: str, config: Path) -> str:
    """A key with credit, for an account of its own."""

    def run(*arguments: str) -> str:
        command = [nexeon, *arguments, "-c", str(config)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    account = json.loads(run("accounts", "create", "--name", "bench", "--json"))["id"]
    run("credits", "add", account, "1000000")
    return str(json.loads(run("keys", "create", "--account", account, "--name", "bench", "--json"))["key"])
