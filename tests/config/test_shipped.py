"""The gateway.yaml and the schema that ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nexeon.config import Config, load_config
from nexeon.config.explain import schema
from nexeon.data import data_path

FORMATS = {path.name for path in data_path("schemas/formats").iterdir()}
DOCUMENTED = {  # the ids and dates in the API documentation's examples
    "gpt-5.2-chat-latest": (1736841600, "openai"),
    "claude-3-5-sonnet-20241022": (1729555200, "anthropic"),
    "gemini-2.5-pro": (1735689600, "google"),
    "deepseek-chat": (1704067200, "deepseek"),
    "grok-3": (1735689600, "xai"),
}


@pytest.fixture(scope="module")
def shipped() -> Config:
    return load_config([data_path("gateway.yaml")], environ={}, formats=FORMATS)


def test_the_documented_models_are_there(shipped: Config) -> None:
    assert {name: (shipped.models[name].created, shipped.models[name].owned_by) for name in DOCUMENTED} == DOCUMENTED
    assert "gpt-5" in shipped.models


def test_every_provider_serves_models(shipped: Config) -> None:
    assert set(shipped.providers) == {"openai", "anthropic", "gemini", "deepseek", "xai", "openrouter"}
    served = {target.provider for model in shipped.models.values() for target in model.targets}
    assert served == set(shipped.providers)


def test_every_model_has_its_limits_and_a_plausible_price(shipped: Config) -> None:
    for model in shipped.models.values():
        price = model.price
        assert model.context_window, model.id
        assert model.max_output_tokens or model.owned_by == "xai", model.id
        assert (model.max_output_tokens or 0) <= model.context_window, model.id
        assert 0 < price.cached_input <= price.input < price.output, model.id
        assert all(tier.input > price.input and tier.output > price.output for _, tier in price.tiers), model.id
        assert 1_700_000_000 <= model.created < 1_800_000_000, model.id


def test_a_service_tier_that_is_dearer_is_dearer_in_all_it_reads_and_writes(shipped: Config) -> None:
    """Searches cost what they always cost."""
    dear = {"priority", "fast", "ultrafast"}
    for model in shipped.models.values():
        for name, tier in model.price.service_tiers.items():
            for tokens in (1, 1_000_000):
                at, usual = model.price.at(tokens, name), model.price.at(tokens)
                words = [(getattr(at, part), getattr(usual, part)) for part in ("input", "output", "cache_write")]
                assert all(one > other if name in dear else one < other for one, other in words), (model.id, name)
            assert tier.web_search == model.price.web_search, model.id


def test_no_search_is_given_away(shipped: Config) -> None:
    """A search costs its own price where the provider takes one beside tokens and counts it in the answer."""
    paid = {"openai", "anthropic", "gemini", "xai"}
    for model in shipped.models.values():
        if {target.provider for target in model.targets} & paid:
            assert model.price.web_search >= 5_000_000, model.id
            assert all(tier.web_search == model.price.web_search for _, tier in model.price.tiers), model.id


def test_a_model_is_priced_as_the_design_shows(shipped: Config) -> None:
    price = shipped.models["claude-3-5-sonnet-20241022"].price
    assert (price.input, price.cached_input, price.cache_write, price.output) == (
        3_000_000_000, 300_000_000, 3_750_000_000, 15_000_000_000,
    )  # fmt: skip


def test_keys_come_from_the_environment() -> None:
    filled = load_config([data_path("gateway.yaml")], environ={"OPENAI_API_KEY": "k"})
    assert filled.providers["openai"].api_key == "k"
    assert filled.providers["anthropic"].api_key is None


def test_every_format_has_a_route_and_every_client_base_works(shipped: Config) -> None:
    assert {route.format for route in shipped.routes} == FORMATS
    for base in ("/v1", "/v1beta", "/v1alpha"):
        path = f"{base}/models/vendor/m:streamGenerateContent"
        [route] = [route for route in shipped.routes if route.pattern.match(path)]
        assert route.stream is True


def test_the_first_line_names_the_schema() -> None:
    first = data_path("gateway.yaml").read_text(encoding="utf-8").splitlines()[0]
    name = first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads(data_path(name).read_text(encoding="utf-8")) == schema()


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def objects(part: Any, path: str = "") -> Any:
    if isinstance(part, dict):
        yield path, part
        for key, value in part.items():
            yield from objects(value, f"{path}/{key}")
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from objects(value, f"{path}/{index}")


def test_the_schema_helps_in_editors() -> None:
    for path, part in objects(schema()):
        if "properties" in part and not path.endswith("/properties"):
            closed = "additionalProperties" in part or "unevaluatedProperties" in part or path == "/$defs/classes"
            assert closed, f"{path} lets typos through"
        if "pattern" in part:
            assert "patternErrorMessage" in part, f"{path} says only a pattern"


def test_defaults_and_examples_of_the_schema_are_valid() -> None:
    whole = schema()
    checked = 0
    for path, part in objects(whole):
        if path.endswith("/properties") or not ({"default", "examples"} & part.keys()):
            continue
        validator = Draft202012Validator({"$defs": whole["$defs"], **part})
        for value in [*part.get("examples", ()), *([part["default"]] if "default" in part else ())]:
            assert not list(validator.iter_errors(value)), (path, value)
            checked += 1
    assert checked > 30


def test_the_schemas_defaults_are_the_loaders(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "providers: {p: {base_url: 'https://x.example', formats: [f], auth: {header: a, value: '{{ key }}'}}}\n"
        "models: {m: {owned_by: o, created: 0, price: {input: 0, output: 0}, targets: [{provider: p, model: m}]}}\n"
        "routes: [{path: /a, format: f}]"
    )
    loaded = load_config([path], environ={}, formats=["f"])
    parts = schema()["$defs"]
    sizes = {"64MiB": 64 * 2**20, "20MiB": 20 * 2**20}
    for name, built in [
        ("server", loaded.server),
        ("estimate", loaded.estimate),
        ("materialise", loaded.materialise),
        ("provider", loaded.providers["p"]),
        ("target", loaded.models["m"].targets[0]),
        ("price", loaded.models["m"].price),
    ]:
        for key, part in parts[name]["properties"].items():
            if "default" in part:
                default = sizes.get(str(part["default"]), part["default"])
                assert getattr(built, key) == default, f"{name}.{key}"
    for key, part in parts["provider"]["properties"]["timeouts"]["properties"].items():
        assert getattr(loaded.providers["p"].timeouts, key) == part["default"]
    assert list(loaded.routes[0].methods) == parts["route"]["properties"]["methods"]["default"]
