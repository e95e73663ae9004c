"""What a key may do: its model globs, and its scopes, each a word that narrows it.

`read` takes requests away that generate or change something. `endpoint:GLOB` (of URL paths), `provider:GLOB` and
`ip:RANGE` (an address or CIDR) allow what they name; several of one kind allow each of theirs, none of a kind allows
everything of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from nexeon.store.records import ApiKey

READ: Final = "read"


@dataclass(frozen=True, slots=True)
class Scopes:
    """Parsed scopes of a key."""

    read_only: bool = False
    endpoints: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


@lru_cache(maxsize=4096)
def parse_scopes(scopes: tuple[str, ...]) -> Scopes:
    """Raises ValueError, which names the scope and says what would be right."""
    read_only = False
    endpoints: list[str] = []
    providers: list[str] = []
    networks: list[IPv4Network | IPv6Network] = []
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        if scope == READ:
            read_only = True
        elif kind == "endpoint" and rest.startswith(("/", "*")):
            endpoints.append(rest)
        elif kind == "endpoint":
            raise ValueError(f"scope `{scope}`: give a URL path that begins with `/`, such as endpoint:/v1/models*")
        elif kind == "provider" and rest:
            providers.append(rest)
        elif kind == "ip":
            try:
                networks.append(ip_network(rest))
            except ValueError as error:
                raise ValueError(
                    f"scope `{scope}`: {error}; give an address or a range, such as ip:10.0.0.0/8"
                ) from None
        else:
            raise ValueError(f"no scope `{scope}`: use read, endpoint:GLOB, provider:GLOB or ip:RANGE")
    return Scopes(read_only, tuple(endpoints), tuple(providers), tuple(networks))


def permitted(
    key: ApiKey,
    *,
    endpoint: str | None = None,
    model: str | tuple[str, ...] | None = None,
    provider: str | None = None,
    ip: str | None = None,
    write: bool = False,
) -> str | None:
    """Why the key may not do this, as words for the client, or None where it may.

    What is None is not looked at yet, so that it can be asked again once more is known; of several names of one model
    any may fit. `write` is for what generates or changes something. A scope that cannot be read permits nothing.
    """
    if key.models and model is not None:
        names = (model,) if isinstance(model, str) else model
        if not any(fnmatchcase(name, glob) for glob in key.models for name in names):
            return f"this API key may not use model '{names[0]}'"
    if not key.scopes:
        return None
    try:
        scopes = parse_scopes(key.scopes)
    except ValueError:
        return "this API key has a scope that is not known here"
    if scopes.read_only and write:
        return "this API key may only read"
    if endpoint is not None and not _any(scopes.endpoints, endpoint):
        return f"this API key may not use {endpoint}"
    if provider is not None and not _any(scopes.providers, provider):
        return f"this API key may not use provider '{provider}'"
    if ip is not None and scopes.networks and not _inside(ip, scopes.networks):
        return "this API key may not be used from this address"
    return None


def _any(globs: tuple[str, ...], name: str) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def _inside(ip: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
