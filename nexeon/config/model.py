"""The configuration as the rest of the gateway sees it: frozen, resolved, defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

NANO: Final = 10**9
Strategy = Literal["priority", "weighted", "least_latency", "cheapest"]


@dataclass(frozen=True, slots=True)
class Server:
    """`body_limit` in bytes; `body_wait`, `send_wait`, `keepalive` (0: off, both), `drain` and `linger` in seconds;
    `workers` are processes; `watch`: a changed file is read again."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    body_limit: int = 64 * 1024 * 1024
    body_wait: float = 30.0
    send_wait: float = 120.0
    keepalive: float = 15.0
    drain: float = 30.0
    linger: float = 2.0
    watch: bool = True


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """`url` is kept out of the repr, since it may carry a password; `folder` is absolute, for the engines with one."""

    engine: str
    url: str = field(repr=False)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Admin:
    """`socket` is None where the store's own default holds; `token` is None where nothing is served over HTTP."""

    socket: Path | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Log:
    """The log of requests; `retention` in seconds, `body_limit` in bytes, `queue` in records."""

    enabled: bool = True
    retention: float = 30 * 86_400.0
    bodies: bool = False
    body_limit: int = 64 * 1024
    redact: tuple[str, ...] = ()
    queue: int = 10_000


@dataclass(frozen=True, slots=True)
class Lines:
    """What goes to stderr; `requests`: a line for each of them, with `bodies`. `redact` are regular expressions."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    requests: bool = False
    bodies: bool = False
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tracing:
    """OpenTelemetry traces. `endpoint` is None where the exporter's own environment variables say; `sample` is the
    share of requests whose caller has no trace; `delay` in seconds until spans are sent."""

    enabled: bool = False
    endpoint: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    sample: float = 1.0
    service: str = "nexeon"
    delay: float = 5.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request reserves before its usage is known."""

    max_output_tokens: int = 8192
    bytes_per_token: float = 4.0


@dataclass(frozen=True, slots=True)
class Materialise:
    """Limits for fetching a URL's bytes; `timeout` in seconds."""

    enabled: bool = True
    max_bytes: int = 20 * 1024 * 1024
    timeout: float = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests and tokens in any 60 seconds (`rpm`, `tpm`) or 24 hours (`rpd`, `tpd`), and calls at once; None: no
    limit."""

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class DefaultLimits:
    """What holds for each key, account and model that has no limit of its own; `url` of a server that counts for
    several gateways together, which may carry a password."""

    key: Limits = Limits()
    account: Limits = Limits()
    model: Limits = Limits()
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Retry:
    """How much one request may try: calls to providers, rounds over the targets, seconds until the last round."""

    attempts: int = 12
    rounds: int = 3
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """A target that fails `failures` times in a row (0: no limit) is left out for `seconds`."""

    failures: int = 5
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Overload:
    """What is taken at once: requests that generate something, and bytes of their bodies. Beyond it, `queue` of them
    wait for up to `wait` seconds."""

    running: int = 4096
    bodies: int = 512 * 1024 * 1024
    queue: int = 1024
    wait: float = 5.0


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Answers kept for requests with an idempotency key: for `hours`, at most so many and so large."""

    hours: float = 24.0
    entries: int = 100_000
    max_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Responses:
    """Answers kept as a resource, where a client's format has such: `store` False keeps none; `ttl` in seconds,
    `max_bytes` of one answer with its input, `account_bytes` of all that an account has."""

    store: bool = True
    ttl: float = 30 * 86_400.0
    max_bytes: int = 16 * 1024 * 1024
    account_bytes: int = 1024**3


@dataclass(frozen=True, slots=True)
class Route:
    """`pattern` matches a whole URL path, with a group for each `{name}`; `stream` is None where the body says."""

    path: str
    methods: tuple[str, ...]
    format: str
    stream: bool | None
    pattern: re.Pattern[str] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Auth:
    """The header that carries a provider key."""

    header: str
    prefix: str = field(repr=False)
    suffix: str = field(repr=False)

    def render(self, key: str) -> str:
        """The header's value for `key`."""
        return f"{self.prefix}{key}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: until connected, from request to answer's headers, between two pieces of an answer."""

    connect: float = 10.0
    first_byte: float = 600.0
    idle: float = 120.0


@dataclass(frozen=True, slots=True)
class PoolKey:
    """One of a provider's keys from the configuration. `account` is the provider organisation it belongs to."""

    key: str = field(repr=False)
    account: str = "default"
    label: str = ""
    weight: float = 1.0
    limits: Limits = Limits()


OWN_KEY: Final = "config:"
"""How the ids of keys that are kept in the configuration begin."""


@dataclass(frozen=True, slots=True)
class Provider:
    """`base_url` has no slash at its end; `formats` are in order of preference.

    `api_key_variable` is the environment variable that `api_key` is read from, where it is; `probe` is the path whose
    GET tells whether a key is good. `keys` join `api_key`; `key_limits` hold for each key that has none. `affinity`: a
    conversation stays with one key, whose organisation has its prompt cached. `key_rest`: a key that was limited or
    refused is left alone for a while. `otel_name` is what traces call it.
    """

    name: str
    base_url: str
    formats: tuple[str, ...]
    auth: Auth
    headers: Mapping[str, str] = field(repr=False)
    api_key: str | None = field(repr=False)
    key_account: str
    dialect: str | None
    timeouts: Timeouts
    proxy: str | None = field(repr=False)
    max_connections: int
    api_key_variable: str | None = None
    probe: str = "/models"
    keys: tuple[PoolKey, ...] = ()
    key_limits: Limits = Limits()
    affinity: bool = True
    key_rest: bool = True
    otel_name: str | None = None

    def own_keys(self) -> list[tuple[str, PoolKey]]:
        """The configured keys, each with the id that it goes by."""
        name = f"{OWN_KEY}{self.name}"
        found = [(f"{name}:{number}", each) for number, each in enumerate(self.keys, 1)]
        if self.api_key is not None:
            found.insert(0, (name, PoolKey(self.api_key, self.key_account, limits=self.key_limits)))
        return found


@dataclass(frozen=True, slots=True)
class Price:
    """Integer nano-USD: per 1M tokens by class, `request` per call, `web_search` per search; every class is filled in.

    `tiers` are (above how many input tokens, price), highest first; `service_tiers` are prices by the tier's name, with
    `tiers` of their own.
    `markup` multiplies whatever a call costs, in billionths; `reported`: a cost that the provider tells is taken
    instead of the classes.
    """

    input: int
    output: int
    cached_input: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    audio_input: int
    audio_output: int
    image: int
    request: int = 0
    web_search: int = 0
    tiers: tuple[tuple[int, Price], ...] = ()
    service_tiers: Mapping[str, Price] = field(default_factory=dict)
    markup: int = NANO
    reported: bool = False

    def at(self, input_tokens: int = 0, service_tier: str | None = None) -> Price:
        """What holds for a request with so many input tokens (cached ones included) in that service tier."""
        chosen = self if service_tier is None else self.service_tiers.get(service_tier, self)
        for above, price in chosen.tiers:
            if input_tokens > above:
                return price
        return chosen


@dataclass(frozen=True, slots=True)
class Target:
    """`provider` is a key of `Config.providers`; `format` is None where the client's or the provider's first holds."""

    provider: str
    model: str
    format: str | None
    weight: float
    price: Price


@dataclass(frozen=True, slots=True)
class Model:
    """`created` in Unix seconds; the token limits are None where unknown.

    `strategy` says which target is tried first; `fallbacks` are models to try when no target answers; `limits` bound
    what all clients together ask of it.
    """

    id: str
    owned_by: str
    created: int
    price: Price
    context_window: int | None
    max_output_tokens: int | None
    targets: tuple[Target, ...]
    aliases: tuple[str, ...] = ()
    strategy: Strategy = "priority"
    fallbacks: tuple[str, ...] = ()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Config:
    """A merged, checked configuration. `files` are its sources, left to right."""

    server: Server
    store: StoreConfig
    admin: Admin
    mappings: tuple[Path, ...]
    estimate: Estimate
    materialise: Materialise
    routes: tuple[Route, ...]
    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    aliases: Mapping[str, Model] = field(repr=False)
    files: tuple[Path, ...]
    limits: DefaultLimits = DefaultLimits()
    retry: Retry = Retry()
    breaker: Breaker = Breaker()
    idempotency: Idempotency = Idempotency()
    overload: Overload = Overload()
    log: Log = Log()
    lines: Lines = Lines()
    tracing: Tracing = Tracing()
    responses: Responses = Responses()

    def model(self, name: str) -> Model | None:
        """The model by its id or an alias."""
        return self.models.get(name) or self.aliases.get(name)
