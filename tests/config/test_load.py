"""Merging, environment, paths and defaults."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

import nexeon.config as config
from nexeon.config import Config, load_config
from nexeon.data import data_path
from nexeon.errors import ConfigError

FORMATS = {"wire.chat", "wire.other", "f", *(path.name for path in data_path("schemas/formats").iterdir())}
PROVIDER = """
providers:
  up:
    base_url: https://api.example.com/v1/
    formats: [wire.chat]
    auth: {header: Authorization, value: "Bearer {{key}}"}
"""
MODEL = """
models:
  vendor/m:
    owned_by: someone
    created: 1700000000
    price: {input: 0.0028, output: 0.1}
    targets: [{provider: up, model: m}]
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def load(*paths: Path, **environ: str) -> Config:
    return load_config(paths, environ=environ, formats=FORMATS)


def test_maps_merge_lists_and_scalars_replace_null_deletes(write: Any) -> None:
    first = write("a.yaml", PROVIDER + MODEL + "server: {host: 0.0.0.0, port: 1, drain: 5}")
    second = write(
        "b.yaml",
        """
server: {port: 2, drain: null}
providers: {up: {formats: [wire.other], headers: {x-a: "1"}}}
models: {vendor/m: null, n: {owned_by: me, created: 1, price: {input: 1, output: 2}, targets: [
  {provider: up, model: n}]}}
""",
    )
    merged = load(first, second, write("c.yaml", "{}"), write("d.yaml", ""))
    assert (merged.server.host, merged.server.port, merged.server.drain) == ("0.0.0.0", 2, 30)
    assert merged.providers["up"].formats == ("wire.other",)
    assert merged.providers["up"].headers == {"x-a": "1"}
    assert set(merged.models) == {"n"}
    assert merged.files == tuple(path.absolute() for path in (first, second, *merged.files[2:]))


def test_only_the_merged_configuration_is_validated(write: Any) -> None:
    price = write("price.yaml", "models: {vendor/m: {price: {input: 7}}}")
    with pytest.raises(ConfigError, match=r"missing `owned_by`, `created` and `targets` in models\.vendor/m"):
        load(price)
    assert load(write("a.yaml", PROVIDER + MODEL), price).models["vendor/m"].price.input == 7 * 10**9


def test_an_error_names_the_file_that_wrote_the_value(write: Any) -> None:
    first = write("a.yaml", PROVIDER + MODEL)
    second = write("b.yaml", "\n\nmodels: {vendor/m: {targets: [{provider: upp, model: m}]}}")
    with pytest.raises(ConfigError) as raised:
        load(first, second)
    [problem] = raised.value.problems
    assert (problem.file, problem.line, problem.path) == (str(second), 3, "models.vendor/m.targets[0]")


def test_everything_has_a_default(write: Any) -> None:
    empty = load(write("empty.yaml", "{}"))
    assert dataclasses.asdict(empty.server) == {
        "host": "127.0.0.1", "port": 8080, "workers": 1, "body_limit": 64 * 2**20, "body_wait": 30.0,
        "send_wait": 120.0, "keepalive": 15.0, "drain": 30.0,
        "linger": 2.0, "watch": True,
    }  # fmt: skip
    assert empty.mappings == (data_path("mappings"),)
    assert empty.admin.socket is None
    assert [route.path for route in empty.routes][:3] == ["/v1/chat/completions", "/v1/responses", "/v1/messages"]
    assert (empty.providers, empty.models) == ({}, {})
    assert load(write("none.yaml", "routes: []")).routes == ()


def test_sizes_are_bytes(write: Any) -> None:
    assert load(write("a.yaml", "server: {body_limit: 2 MiB}")).server.body_limit == 2 * 1024 * 1024
    assert load(write("b.yaml", "server: {body_limit: 5kB}")).server.body_limit == 5000
    assert load(write("c.yaml", "server: {body_limit: 77}")).server.body_limit == 77


def test_environment(write: Any) -> None:
    path = write(
        "a.yaml",
        PROVIDER + '    api_key: ${KEY:-}\nserver: {host: "${HOST:-here}", port: "${PORT}"}\n'
        "models: {m: {owned_by: 'a-$${x}-${WHO}', created: 1, price: {input: 1, output: 1},"
        ' targets: [{provider: up, model: "${NUMBER}"}]}}',
    )
    filled = load(path, PORT="81", WHO="me", KEY="12345", NUMBER="4")
    assert (filled.server.host, filled.server.port) == ("here", 81)
    assert filled.models["m"].owned_by == "a-${x}-me"
    assert filled.providers["up"].api_key == "12345"
    assert filled.models["m"].targets[0].model == "4"
    empty = load(path, PORT="81", WHO="", KEY="", NUMBER="4", HOST="")
    assert (empty.providers["up"].api_key, empty.server.host) == (None, "here")


def test_a_variable_that_a_later_file_replaces_may_be_missing(write: Any) -> None:
    first = write("a.yaml", 'server: {host: "${NOWHERE}"}')
    assert load(first, write("b.yaml", "server: {host: there}")).server.host == "there"


def test_relative_paths_start_at_the_file_that_names_them(write: Any, tmp_path: Path) -> None:
    (tmp_path / "deep/mine").mkdir(parents=True)
    first = write("a.yaml", "store: {url: 'tinydb:./data'}\nadmin: {socket: run/admin.sock}")
    second = write("deep/b.yaml", "mappings: [builtin, ./mine, ../deep/mine]")
    merged = load(first, second)
    assert merged.store.folder == tmp_path / "data"
    assert merged.store.url == f"tinydb:{tmp_path}/data"
    assert merged.admin.socket == tmp_path / "run/admin.sock"
    assert merged.mappings == (data_path("mappings"), tmp_path / "deep/mine", tmp_path / "deep/mine")
    elsewhere = load(first, write("deep/c.yaml", "store: {url: tinydb:/srv/nexeon}"))
    assert elsewhere.store.folder == Path("/srv/nexeon")


def test_the_store_stands_beside_the_first_file_when_none_is_named(write: Any, tmp_path: Path) -> None:
    assert load(write("a.yaml", "{}"), write("deep/b.yaml", "{}")).store.folder == tmp_path / "data"


def test_without_files_the_one_here_is_read(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("gateway.yaml", "server: {port: 99}\nstore: {url: 'tinydb:./kept'}")
    monkeypatch.chdir(tmp_path)
    here = load_config(environ={})
    assert (here.server.port, here.store.folder) == (99, tmp_path / "kept")


def test_without_any_file_the_shipped_one_with_a_store_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = load_config(environ={"HOME": "/home/someone"})
    assert shipped.files == (data_path("gateway.yaml"),)
    assert shipped.store.folder == Path("/home/someone/.local/share/nexeon")
    assert load_config(environ={"XDG_DATA_HOME": "/xdg"}).store.folder == Path("/xdg/nexeon")


def test_an_installed_file_never_holds_the_store(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "site/nexeon/_data"
    shipped = write("site/nexeon/_data/gateway.yaml", "store: {url: 'tinydb:./data'}\nroutes: []")
    monkeypatch.setattr(config, "DATA_ROOT", root)
    monkeypatch.setattr(config, "data_path", lambda name: root / name)
    mine = write("mine.yaml", "{}")
    environ = {"XDG_DATA_HOME": "/xdg"}
    assert load_config([shipped], environ=environ).store.folder == Path("/xdg/nexeon")
    assert load_config([shipped, mine], environ=environ).store.folder == Path("/xdg/nexeon")
    mine.write_text("store: {url: 'tinydb:./here'}")
    assert load_config([shipped, mine], environ=environ).store.folder == tmp_path / "here"


def test_secrets_stay_out_of_repr(write: Any) -> None:
    path = write(
        "a.yaml",
        PROVIDER + "    api_key: hunter2\n    headers: {x-a: hunter2}\n    proxy: http://me:hunter2@proxy\n"
        "store: {url: 'postgresql://me:hunter2@db/nexeon'}",
    )
    loaded = load(path)
    assert (loaded.store.engine, loaded.store.folder) == ("postgresql", None)
    assert loaded.store.url.endswith("hunter2@db/nexeon")
    assert "hunter2" not in repr(loaded)


def test_nothing_is_left_to_compute(write: Any) -> None:
    loaded = load(write("a.yaml", PROVIDER + MODEL))
    provider, model = loaded.providers["up"], loaded.models["vendor/m"]
    assert provider.base_url == "https://api.example.com/v1"
    assert provider.auth.render("k") == "Bearer k"
    assert provider.timeouts == config.Timeouts(connect=10, first_byte=600, idle=120)
    assert (provider.key_account, provider.dialect, provider.api_key) == ("default", None, None)
    price = model.price
    assert (price.input, price.cached_input, price.cache_write, price.cache_write_1h) == (2_800_000,) * 4
    assert (price.output, price.reasoning, price.audio_output, price.image) == (100_000_000,) * 4
    assert (price.request, price.web_search) == (0, 0)
    assert model.targets[0].price == price
    assert model.targets[0].format is None


def test_price_by_input_length_service_tier_and_target(write: Any) -> None:
    path = write(
        "a.yaml",
        PROVIDER
        + """
models:
  m:
    owned_by: me
    created: 1
    aliases: [m-latest]
    price:
      input: 1
      output: 10
      request: 0.01
      tiers: [{above: 100, input: 2}, {above: 1000, output: 30}]
      service_tiers: {flex: {input: 0.5, output: 5}, fast: {times: 2.5, cached_input: 0.7}}
    targets: [{provider: up, model: m, weight: 3, price: {input: 4, output: 4}}]
""",
    )
    loaded = load(path)
    model = loaded.model("m-latest")
    assert model is loaded.models["m"] is loaded.model("m")
    assert loaded.model("other") is None
    price = model.price
    at = [(price.at(n).input, price.at(n).output) for n in (100, 101, 1000, 1001)]
    assert at == [(10**9, 10**10), (2 * 10**9, 10**10), (2 * 10**9, 10**10), (10**9, 3 * 10**10)]
    assert price.at(5000, "flex").output == 5 * 10**9
    fast = [(fast.input, fast.output) for n in (100, 101, 1001) if (fast := price.at(n, "fast"))]
    assert fast == [(25 * 10**8, 25 * 10**9), (5 * 10**9, 25 * 10**9), (25 * 10**8, 75 * 10**9)]
    assert (price.at(1, "fast").cached_input, price.at(1, "fast").request) == (7 * 10**8, 10**7)
    assert price.at(5000, "unheard-of") == price.at(5000)
    assert price.at(101).request == 10**7
    assert (model.targets[0].weight, model.targets[0].price.input) == (3, 4 * 10**9)


def test_a_configuration_can_be_copied_and_altered(write: Any) -> None:
    loaded = load(write("a.yaml", PROVIDER + MODEL))
    assert dataclasses.asdict(loaded.models["vendor/m"].price)["service_tiers"] == {}
    moved = dataclasses.replace(loaded.providers["up"], base_url="http://127.0.0.1:1")
    assert dataclasses.replace(loaded, providers={"up": moved}).providers["up"].base_url == "http://127.0.0.1:1"
    assert copy.deepcopy(loaded) == loaded


def test_names_are_those_of_the_mapping_folders(write: Any, tmp_path: Path) -> None:
    path = write("a.yaml", PROVIDER + "    dialect: mine\nmappings: [./mine]")
    with pytest.raises(ConfigError, match="no folder"):
        load_config([path], environ={})
    (tmp_path / "mine").mkdir()
    assert load_config([path], environ={}).providers["up"].formats == ("wire.chat",)
    write("mine/formats/chat.yaml", "# a comment\nformat: wire.chats # of ours\nrequest: {}")
    with pytest.raises(ConfigError, match=r"unknown format `wire.chat` in providers.up: did you mean `wire.chats`\?"):
        load_config([path], environ={})
    write("mine/formats/other.yaml", "format: 'wire.chat'")
    assert load_config([path], environ={}).providers["up"].dialect == "mine"
    write("mine/dialects/anything.yaml", "dialect: mines")
    with pytest.raises(ConfigError, match=r"unknown dialect `mine` in providers.up: did you mean `mines`\?"):
        load_config([path], environ={})
    write("mine/dialects/mine.yaml", "")
    assert load_config([path], environ={}).providers["up"].dialect == "mine"


def test_route_patterns(write: Any) -> None:
    path = write("a.yaml", 'routes: [{path: "/v1.5/{model}:go", format: f, stream: true}, {path: /plain, format: f}]')
    go, plain = load(path).routes
    match = go.pattern.match("/v1.5/vendor/m:1:go")
    assert match is not None
    assert match["model"] == "vendor/m:1"
    assert go.pattern.match("/v1x5/m:go") is None
    assert go.pattern.match("/v1.5/m:gone") is None
    assert (go.stream, plain.stream, plain.methods) == (True, None, ("POST",))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"a: \xff"), r"is not UTF-8 text \(byte 3\)"),
    ],
)
def test_unreadable_files(make: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    make(path)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_problems_of_all_files_come_at_once_in_their_order(write: Any) -> None:
    first = write("b.yaml", "server: {prot: 1}\nmodels: {m: {}}")
    second = write("a.yaml", "x: 1")
    with pytest.raises(ConfigError) as raised:
        load(first, second)
    places = [(Path(problem.file).name, problem.line) for problem in raised.value.problems]
    assert places == [("b.yaml", 1), ("b.yaml", 2), ("a.yaml", 1)]


def test_markup_and_cost_of_the_nearest_place_hold(write: Any) -> None:
    path = write(
        "a.yaml",
        """
markup: 1.1
providers:
  up: {base_url: "https://a.example", formats: [f], auth: {header: h, value: "{{ key }}"}, markup: 1.25, cost: reported}
  plain: {base_url: "https://b.example", formats: [f], auth: {header: h, value: "{{ key }}"}}
models:
  m:
    owned_by: me
    created: 1
    price: {input: 1, output: 2, tiers: [{above: 10, input: 3}], service_tiers: {slow: {input: 0.5}}}
    targets: [{provider: up, model: a}, {provider: plain, model: b, price: {input: 4, output: 4}}]
  n: {owned_by: me, created: 1, markup: 2, cost: price, price: {input: 1, output: 2}, targets: [
    {provider: up, model: a}]}
""",
    )
    models = load(path).models
    first, second = (target.price for target in models["m"].targets)
    assert (models["m"].price.markup, models["m"].price.reported) == (1_100_000_000, False)
    assert (first.markup, first.reported) == (1_250_000_000, True)
    assert (second.markup, second.reported) == (1_100_000_000, False)
    assert {price.markup for price in (first.at(11), first.at(1, "slow"))} == {1_250_000_000}
    assert (models["n"].targets[0].price.markup, models["n"].targets[0].price.reported) == (2_000_000_000, False)


def test_keys_limits_and_what_may_be_tried(write: Any) -> None:
    path = write(
        "a.yaml",
        """
limits: {key: {rpm: 60}, model: {tpm: 1000, rpd: 5}}
retry: {attempts: 4}
breaker: {failures: 2, seconds: 1}
idempotency: {hours: 1, max_bytes: 1kB}
providers:
  up:
    base_url: https://a.example
    formats: [f]
    auth: {header: h, value: "{{ key }}"}
    key_account: org
    key_limits: {rpm: 10, concurrency: 3}
    keys:
      - {key: "${ONE}", label: one, weight: 2}
      - {key: "${TWO:-}"}
      - {key: three, account: other, limits: {rpm: 20}}
models:
  m: {owned_by: me, created: 1, price: {input: 1, output: 2}, targets: [{provider: up, model: a}], fallbacks: [n],
      strategy: cheapest, limits: {rpd: 7}}
  n: {owned_by: me, created: 1, price: {input: 1, output: 2}, targets: [{provider: up, model: b}]}
""",
    )
    loaded = load(path, ONE="hunter2")
    one, three = loaded.providers["up"].keys
    assert (one.key, one.account, one.label, one.weight, one.limits) == (
        "hunter2", "org", "one", 2, config.Limits(rpm=10, concurrency=3),
    )  # fmt: skip
    assert (three.key, three.account, three.limits) == ("three", "other", config.Limits(rpm=20, concurrency=3))
    assert "hunter2" not in repr(loaded)
    assert (loaded.limits.key, loaded.limits.account) == (config.Limits(rpm=60), config.Limits())
    assert loaded.models["m"].limits == config.Limits(tpm=1000, rpd=7)
    assert (loaded.models["m"].fallbacks, loaded.models["m"].strategy) == (("n",), "cheapest")
    assert (loaded.retry.attempts, loaded.breaker.failures, loaded.idempotency.max_bytes) == (4, 2, 1000)


def test_a_fallback_must_be_another_model(write: Any) -> None:
    model = (
        "{owned_by: me, created: 1, price: {input: 1, output: 2}, targets: [{provider: up, model: a}], fallbacks: [%s]}"
    )
    path = write("a.yaml", PROVIDER + f"models:\n  m1: {model % 'm1'}\n  m2: {model % 'mm1'}\n")
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert [problem.message for problem in raised.value.problems] == [
        "`m1` itself in models.m1.fallbacks: name another model",
        "unknown model `mm1` in models.m2.fallbacks: did you mean `m1`?",
    ]


@pytest.mark.parametrize("store", ["", 'store: {url: "tinydb:./x"}', 'store: {url: "memory:"}'])
def test_several_workers_need_a_store_that_is_shared(tmp_path: Path, store: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"server: {{workers: 3}}\n{store}\n")
    with pytest.raises(
        ConfigError, match=r"server\.workers: a \w+: store belongs to one process; for 3 set store\.url"
    ):
        load_config([file], environ={})
    file.write_text(
        'server: {workers: 3}\nstore: {url: "postgresql://x/y"}\nlimits: {url: "redis://:secret@x/0", key: {rpm: 2}}\n'
    )
    found = load_config([file], environ={})
    assert (found.server.workers, found.limits.url, found.limits.key.rpm) == (3, "redis://:secret@x/0", 2)
    assert "secret" not in repr(found)
