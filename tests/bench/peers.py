"""Who is measured: the gateway as shipped, a bare echo of the same libraries, nginx; LiteLLM and Portkey if asked for.

Those two are installed at the first use, each into an environment of its own; where that cannot be, the bench goes on
without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench import deployment
from tests.bench.harness import program
from tests.ports import free_port

NEXEON = shutil.which("nexeon") or str(Path(sys.executable).with_name("nexeon"))

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_max_body_size 100m; client_body_buffer_size 2m;
  keepalive_requests 100000000;
  upstream canned {{ server 127.0.0.1:{upstream}; keepalive 600; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://canned; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""

LITELLM = """
model_list:
{models}
litellm_settings: {{telemetry: false, drop_params: true}}
general_settings: {{master_key: {key}}}
"""


@dataclass(frozen=True)
class Peer:
    """`direct`: it takes the provider's path and format, and translates nothing. `headers`: what it wants beside the
    key, for a way of answering."""

    name: str
    port: int
    pid: int
    direct: bool = True
    headers: Callable[[str], Mapping[str, str]] = lambda way: {}
    count: list[int] = field(default_factory=lambda: [0])

    def asked(self, requests: int) -> None:
        """Counts what it has answered so far."""
        self.count[0] += requests


@contextmanager
def upstream(port: int, *more: str) -> Iterator[Peer]:
    """At `more` addresses of this machine, too."""
    command = (sys.executable, "-m", "tests.bench.upstream", str(port), "127.0.0.1", *more)
    with program(*command, port=port) as pid:
        yield Peer("upstream", port, pid)


@contextmanager
def nexeon(config: Path) -> Iterator[Peer]:
    port = free_port()
    with program(NEXEON, "serve", "-c", str(config), "--port", str(port), port=port) as pid:
        yield Peer("nexeon", port, pid, direct=False)


@contextmanager
def echo(to: int) -> Iterator[Peer]:
    port = free_port()
    target = f"http://127.0.0.1:{to}"
    with program(sys.executable, "-m", "tests.bench.echo", str(port), target, port=port) as pid:
        yield Peer("echo", port, pid)


@contextmanager
def nginx(to: int, folder: Path) -> Iterator[Peer]:
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, upstream=to, port=port))
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") or "nginx"
    with program(binary, "-c", str(config), "-e", str(folder / "nginx.log"), port=port) as pid:
        yield Peer("nginx", port, pid)


@contextmanager
def litellm(to: int, folder: Path, key: str) -> Iterator[Peer]:
    """In an environment of its own, made at the first use."""
    home = _home("litellm")
    if not (home / "bin" / "litellm").exists():
        _install([sys.executable, "-m", "venv", str(home)])
        _install([str(home / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"])
    models = "\n".join(
        f"  - {{model_name: {deployment.model(way, name)}, litellm_params: {{model: {prefix}/bench, "
        f'api_base: "http://127.0.0.1:{to}/{way}{base}", api_key: x}}}}'
        for way in deployment.WAYS
        for name, prefix, base in (("openai.chat", "openai", "/v1"), ("anthropic.messages", "anthropic", ""))
    )
    config = folder / "litellm.yaml"
    config.write_text(LITELLM.format(models=models, key=key))
    port = free_port()
    arguments = ("--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1")
    environ = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    with program(str(home / "bin" / "litellm"), *arguments, port=port, environ=environ) as pid:
        yield Peer("litellm", port, pid, direct=False)


@contextmanager
def portkey(to: int) -> Iterator[Peer]:
    """In a folder of its own, made at the first use. It is told where to send a request by headers."""
    home = _home("portkey")
    script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if shutil.which("npm") is None:
        raise Missing("npm is missing")
    if not script.exists():
        home.mkdir(parents=True, exist_ok=True)
        _install(
            ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(home), "@portkey-ai/gateway"]
        )

    def headers(way: str) -> Mapping[str, str]:
        return {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{to}/{way}/v1"}

    port = free_port()
    environ = {"NODE_ENV": "production"}
    with program("node", str(script), f"--port={port}", "--headless", port=port, environ=environ) as pid:
        yield Peer("portkey", port, pid, direct=False, headers=headers)


class Missing(Exception):
    """A peer cannot be had here."""


def _home(name: str) -> Path:
    named = os.environ.get(f"NEXEON_BENCH_{name.upper()}")
    return Path(named) if named else Path.home() / ".cache" / "nexeon-bench" / name


def _install(command: list[str]) -> None:
    print(f"once: {' '.join(command)}", file=sys.stderr, flush=True)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Missing(done.stderr.strip()[-300:] or f"`{command[0]}` ended with {done.returncode}")


@contextmanager
def all_of(folder: Path, *, more: bool) -> Iterator[tuple[str, Peer, list[Peer]]]:
    """The key to use, the upstream, and the peers."""
    with ExitStack() as stack:
        port = free_port()
        canned = stack.enter_context(upstream(port))
        config = deployment.configuration(folder, f"http://127.0.0.1:{port}")
        key = deployment.make_key(NEXEON, config)
        peers = [stack.enter_context(echo(port)), stack.enter_context(nexeon(config))]
        if shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin"):
            peers.append(stack.enter_context(nginx(port, folder)))
        for make in (partial(litellm, port, folder, key), partial(portkey, port)) if more else ():
            try:
                peers.append(stack.enter_context(make()))
            except Missing as error:
                print(f"without {make.func.__name__}: {error}", file=sys.stderr, flush=True)
        yield key, canned, peers
