"""Made-up figures, requests and models."""

from __future__ import annotations

import math
from typing import Any

MODELS = ("swift-2", "swift-2-mini", "granite-large", "granite-large-thinking-2029-11", "house/tuned-7")
PROVIDERS = ("alpine", "borealis", "cirrus")


def live(params: dict[str, Any]) -> dict[str, Any]:
    """What `live.show` answers for a gateway that is busy."""
    span, points = params["span"], params["points"]
    wave = [1 + math.sin(place / 5) * 0.4 + math.sin(place / 2.3) * 0.2 for place in range(points)]
    requests = [round(14 * each, 1) for each in wave]
    total = round(sum(requests) * span / points)
    return {
        "now": "2030-03-17T17:46:40.000Z",
        "url": "http://127.0.0.1:8080",
        "running": 7,
        "spend_today": "48.275310000",
        "traffic": {
            "span": span,
            "seconds": span / points,
            "requests": requests,
            "errors": [0.0 if place % 13 else 1.5 for place in range(points)],
            "input_tokens": [each * 900 for each in requests],
            "output_tokens": [each * 240 for each in requests],
            "spend": [each * 0.0012 for each in requests],
            "first_p50": [None if place == 7 else 0.42 + 0.1 * math.sin(place / 4) for place in range(points)],
            "first_p95": [None if place == 7 else 1.1 + 0.4 * math.sin(place / 6) for place in range(points)],
            "total": {
                "requests": total,
                "errors": 15,
                "tokens": total * 1140,
                "spend": "2.041900000",
                "first_p50": 0.42,
                "first_p95": 1.48,
            },
            "models": _ranked("model", MODELS, total),
            "providers": _ranked("provider", PROVIDERS, total),
        },
        "problems": [
            _problem("provider_key", "pk_2", "borealis spare", "removed", "removed: 401: the key was revoked"),
            _problem("target", "granite-large", "cirrus/granite-l", "open", "left alone after 5 failures in a row"),
            _problem("account", "acc_0000000000000002", "cobalt [eu]", "low", "0.31 USD available, less than 5.00"),
        ],
    }


def _problem(kind: str, id: str, name: str, state: str, words: str) -> dict[str, Any]:
    return {"kind": kind, "id": id, "name": name, "state": state, "words": words}


def _ranked(kind: str, names: tuple[str, ...], total: int) -> list[dict[str, Any]]:
    shares = [total >> place + 1 for place in range(len(names))]
    return [
        {
            kind: name,
            "requests": share,
            "errors": place * 3,
            "tokens": share * 1140,
            "spend": f"{share * 0.0011:.6f}",
        }
        for place, (name, share) in enumerate(zip(names, shares, strict=True))
    ]


def requests() -> list[dict[str, Any]]:
    """A log of requests, newest first."""
    return [_request(number) for number in range(60)]


def _request(number: int) -> dict[str, Any]:
    status = {3: 429, 7: 502, 11: 400}.get(number, 200)
    model, provider = MODELS[number % 5], PROVIDERS[number % 3]
    words = {429: "the key may ask 60 times a minute", 502: "no target answered", 400: "`max_tokens` must be positive"}
    error = words.get(status, "")
    attempt = {"provider": provider, "model": f"{model}-up", "key": "pk_1", "outcome": "ok", "status": 200}
    attempts = [{**attempt, "seconds": 0.42}] if status == 200 else []
    if number % 9 == 0 or status == 502:
        attempts.insert(0, {**attempt, "outcome": "provider", "status": 503, "seconds": 0.11, "key": "pk_0"})
    done = status == 200
    return {
        "id": f"req_{number:016x}",
        "started": f"2030-03-17T17:46:{39 - number % 40:02d}.000Z",
        "ended": f"2030-03-17T17:46:{39 - number % 40:02d}.900Z",
        "ms": 900 + number * 37,
        "steps": {"admitted": 0.0021, "answered": 0.43, "settled": 0.9} if done else {"admitted": 0.0021},
        "account": "acc_0000000000000000",
        "account_name": "acme",
        "key": "key_0000000000000000",
        "key_name": ("ci", "laptop", "web [prod]")[number % 3],
        "model": model,
        "served": model,
        "provider": provider if attempts else "",
        "format": "house.chat",
        "stream": number % 2 == 0,
        "status": status,
        "error": error,
        "attempts": attempts,
        "usage": {"input": 1200 + number, "cached_input": 800, "output": 310} if done else {},
        "cost": "0.004215000" if done else None,
        "estimated": False,
        "dropped": ["seed", "reasoning.effort"] if number == 5 else [],
    }


def bodies() -> dict[str, str]:
    """What is kept of a request where bodies are."""
    asked = '{"model":"swift-2","stream":true,"messages":[{"role":"user","content":"Name [three] rivers."}]}'
    events = 'data: {"text":"The Rhine, "}\n\ndata: {"text":"the Elbe, the Oder."}\n\ndata: [DONE]\n\n'
    return {
        "request": asked,
        "response": events,
        "upstream_request": asked.replace("swift-2", "swift-2-up"),
        "upstream_response": events,
    }


def models() -> list[dict[str, Any]]:
    """What is configured."""
    return [_model(number, name) for number, name in enumerate(MODELS)]


def _model(number: int, name: str) -> dict[str, Any]:
    rate = 0.25 * 2**number
    price = dict.fromkeys(("input", "cache_write", "cache_write_1h", "audio_input", "image"), f"{rate:.2f}")
    price |= dict.fromkeys(("output", "reasoning", "audio_output"), f"{rate * 4:.2f}")
    price["cached_input"] = f"{rate / 10:.3f}"
    states = (("ok", 0, 0.42), ("open", 5, None), ("untried", 0, None))
    return {
        "id": name,
        "owned_by": "house",
        "created": "2029-11-01T00:00:00.000Z",
        "aliases": ["swift"] if number == 0 else [],
        "context_window": 200_000 << number % 3,
        "max_output_tokens": 64_000,
        "price": price,
        "strategy": "priority",
        "targets": [
            {
                "provider": PROVIDERS[place],
                "model": f"{name}-up",
                "format": "house.chat" if place else None,
                "weight": 1.0,
                "state": state,
                "failures": failures,
                "latency": latency,
            }
            for place, (state, failures, latency) in enumerate(states[: 1 + number % 3])
        ],
        "fallbacks": ["swift-2-mini"] if number == 2 else [],
        "limits": {"rpm": 6000} if number == 1 else {},
    }


def explained(params: dict[str, Any]) -> list[dict[str, Any]]:
    """What `explain` answers: one target that loses a field, one that refuses."""
    target = {
        "provider": "alpine",
        "model": "swift-2-up",
        "format": "house.chat",
        "piped": False,
        "url": "https://alpine.example/v1/chat",
        "headers": {"x-version": "2"},
        "body": {**params["request"], "model": "swift-2-up"},
        "patches": [],
        "dropped": ["seed"],
        "losses": [{"name": "seed", "line": "house.chat.yaml:14"}],
        "values": [],
        "refusal": "",
        "line": "",
    }
    refused = {
        "refusal": "`video` cannot be said [here]",
        "line": "other.yaml:3",
        "provider": "borealis",
        "dropped": [],
    }
    return [target, target | refused]
