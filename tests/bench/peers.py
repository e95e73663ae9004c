"""Who is measured: the gateway as shipped, a bare echo of the same libraries, nginx, and LiteLLM where asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import deployment
from tests.bench.harness import answers, free_port, program

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
    """`direct`: it takes the provider's path and format, and translates nothing."""

    name: str
    port: int
    pid: int
    direct: bool = True


@contextmanager
def upstream(port: int) -> Iterator[Peer]:
    with program(sys.executable, "-m", "tests.bench.upstream", str(port), port=port) as pid:
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
    home = Path(os.environ.get("NEXEON_BENCH_LITELLM", Path.home() / ".cache" / "nexeon-bench" / "litellm"))
    if not (home / "bin" / "litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"], check=True)
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
    with program(str(home / "bin" / "litellm"), *arguments, port=port) as pid:
        yield Peer("litellm", port, pid, direct=False)


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
        if more:
            peers.append(stack.enter_context(litellm(port, folder, key)))
        yield key, canned, peers


def seconds_to_serve(config: Path, ask: list[str]) -> float:
    """From the start of the process to its first answer, which `ask` (a command) fetches."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        [NEXEON, "serve", "-c", str(config), "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not answers(port):
            time.sleep(0.005)
        subprocess.run([part.replace("PORT", str(port)) for part in ask], check=True, capture_output=True)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(30)
