"""Requests a second of one and of two workers on PostgreSQL: `python -m tests.bench.ops_workers`. Figures, not a test.

The load (wrk), the upstream (nginx, a canned answer) and the database share the machine's cores with the workers.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.bench import harness
from tests.servers import PostgresServer, postgres_programs

SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "64"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2"))
GOAL = 1.6
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "bench",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * 50}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 50, "total_tokens": 62},
}
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{answer}'; }} }}
}}
"""


async def account(url: str) -> str:
    """A key whose account has credit."""
    from nexeon.store import open_store
    from nexeon.store.records import Account, ApiKey
    from nexeon.store.secrets import digest, last4, new_secret

    secret = new_secret()
    store = await open_store(url)
    await store.add(Account("acc_1", "bench", 0.0))
    await store.add(ApiKey("key_1", "acc_1", "bench", 0.0, digest(secret), last4(secret)))
    await store.post("acc_1", "grant", 10**15)
    await store.close()
    return secret


def configuration(folder: Path, store: str, upstream: int, workers: int) -> tuple[Path, int]:
    port = harness.free_port()
    model = {"owned_by": "bench", "created": 1, "price": {"input": 1, "output": 2}}
    value = {
        "server": {"port": port, "workers": workers, "watch": False},
        "store": {"url": store},
        "providers": {
            "canned": {
                "base_url": f"http://127.0.0.1:{upstream}/v1",
                "formats": ["openai.chat"],
                "auth": {"header": "Authorization", "value": "Bearer {{ key }}"},
                "api_key": "x",
            }
        },
        "models": {"bench": {**model, "targets": [{"provider": "canned", "model": "bench"}]}},
    }
    file = folder / f"workers{workers}.yaml"
    file.write_text(json.dumps(value))
    return file, port


def measure(
    folder: Path, store: PostgresServer, key: str, upstream: int, workers: int
) -> tuple[harness.Load, float, float]:
    """The load, and CPU seconds of the gateway and of the database."""
    file, port = configuration(folder, store.url, upstream, workers)
    with harness.program(sys.executable, "-m", "nexeon.cli", "serve", "-c", str(file), port=port) as pid:
        time.sleep(5.0 if workers > 1 else 1.0)  # the port is open before every worker is ready
        body = {"model": "bench", "max_tokens": 100, "messages": [{"role": "user", "content": "fifty words, please"}]}
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        assert store.process is not None
        harness.wrk(url, body, key=key, connections=CONNECTIONS, seconds=2, where=folder)
        before = harness.cpu(pid), harness.cpu(store.process.pid)
        load = harness.wrk(url, body, key=key, connections=CONNECTIONS, seconds=SECONDS, where=folder)
        return load, harness.cpu(pid) - before[0], harness.cpu(store.process.pid) - before[1]


def main() -> None:
    if postgres_programs() is None or not shutil.which("wrk"):
        print("workers on PostgreSQL: needs Debian's postgresql and wrk")
        return
    with harness.folder() as folder:
        folder.chmod(0o755)
        store = PostgresServer(folder / "postgres", durable=True)
        store.make()
        store.start()
        upstream = harness.free_port()
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=upstream, answer=json.dumps(ANSWER)))
        binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") or "nginx"
        try:
            key = asyncio.run(account(store.url))
            with harness.program(binary, "-c", str(config), "-e", str(folder / "nginx.log"), port=upstream):
                show(folder, store, key, upstream)
        finally:
            store.stop(signal.SIGQUIT)


def show(folder: Path, store: PostgresServer, key: str, upstream: int) -> None:
    print(f"{'workers':<9}{'req/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs/req':>12}{'database':>10}{'failed':>8}")
    best: dict[int, float] = {}
    for workers in [1, 2] * ROUNDS:
        load, gateway, database = measure(folder, store, key, upstream, workers)
        best[workers] = max(best.get(workers, 0.0), load.rate)
        print(
            f"{workers:<9}{load.rate:>8.0f}{load.p50 / 1e3:>9.1f}{load.p99 / 1e3:>9.1f}"
            f"{gateway / load.requests * 1e6:>12.0f}{database / load.requests * 1e6:>10.0f}{load.failed:>8}",
            flush=True,
        )
    cores = len(os.sched_getaffinity(0))
    print(f"two workers answer {best[2] / best[1]:.2f} times as much as one, on {cores} cores (goal: ≥ {GOAL})")


if __name__ == "__main__":
    main()
