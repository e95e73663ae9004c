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
