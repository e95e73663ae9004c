"""Throw-away servers for tests: PostgreSQL and Redis from the machine's own programs, gone with whoever started them.

`NEXEON_TEST_POSTGRES` and `NEXEON_TEST_REDIS` name servers to use instead. Without either, tests that need one skip.
All processes of one test run share a server; what they keep in it stays apart by schema, or by prefix.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the guardian is a program of its own

from tests.patience import PATIENCE
from tests.ports import free_port

_USER = "postgres"


def postgres_programs() -> Path | None:
    """The folder of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    here = shutil.which("initdb")
    return Path(here).parent if here else None


class PostgresServer:
    """A cluster in a folder of its own. It refuses root, so that root lends it another user."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        """`durable`: what it has acknowledged survives its own death."""
        programs = postgres_programs()
        assert programs is not None
        self.folder = folder
        self._programs = programs
        self._durable = durable
        self._identity: dict[str, Any] = {"user": _USER, "group": _USER} if os.geteuid() == 0 else {}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._identity:
            self.folder.chmod(0o755)
            shutil.chown(self.folder, _USER, _USER)
        command = [self._programs / "initdb", "-D", self.folder / "data", "-U", _USER, "-A", "trust", "-E", "UTF8"]
        options = ["--no-sync", "--locale=C"]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._identity)

    def start(self) -> None:
        """Returns once it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 300,
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "log_min_messages": "fatal",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data", *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._identity,
            )
        _wait(self._ready, self.process, self.folder / "log")

    def _ready(self) -> bool:
        command = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT: at once and in order; SIGQUIT: as in a crash."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None


class RedisServer:
    """A server that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        _wait(lambda: _answers(self.port), self.process, self.folder)

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None


_KINDS: dict[str, Callable[[Path], PostgresServer | RedisServer]] = {
    "postgres": PostgresServer,
    "redis": RedisServer,
}


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"a server did not start: {log}")
        time.sleep(0.05)


@cache
def postgres_url() -> str | None:
    """A server for tests, or None where there is none and none can be started."""
    if given := os.environ.get("NEXEON_TEST_POSTGRES"):
        return given
    if postgres_programs() is None:
        return None
    if os.geteuid() == 0 and not _known_user():
        return None
    return _shared("postgres")


@cache
def redis_url() -> str | None:
    if given := os.environ.get("NEXEON_TEST_REDIS"):
        return given
    return _shared("redis") if shutil.which("redis-server") else None


def _known_user() -> bool:
    import pwd

    try:
        return bool(pwd.getpwnam(_USER))
    except KeyError:
        return False


def need_postgres() -> str:
    """The URL, or a skip."""
    url = postgres_url()
    if url is None:
        pytest.skip("no PostgreSQL server: install Debian's postgresql, or set NEXEON_TEST_POSTGRES")
    return url


def need_redis() -> str:
    url = redis_url()
    if url is None:
        pytest.skip("no Redis server: install Debian's redis-server, or set NEXEON_TEST_REDIS")
    return url


async def schema_url(folder: Path) -> str:
    """The database's URL with a schema of the folder's own, made where it is missing."""
    import asyncpg

    url = need_postgres()
    name = "t_" + blake2b(str(folder).encode(), digest_size=10).hexdigest()
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
    await connection.close()
    return f"{url}{'&' if '?' in url else '?'}search_path={name}"


def _shared(kind: str) -> str:
    """The run's server: the first process that needs it starts a guardian, which ends it after the run."""
    # Every xdist worker is a child of the run's first process.
    run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    note = Path(tempfile.gettempdir()) / f"nexeon-test-{os.geteuid()}-{run}-{kind}.json"
    with note.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            with subprocess.Popen(
                [sys.executable, __file__, kind, str(run), str(note)],
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            ) as guardian:
                assert guardian.stdout is not None
                if guardian.stdout.readline() != "ready\n":
                    raise RuntimeError(f"no {kind} server could be started")
                guardian.returncode = 0  # it outlives this process
        return str(json.loads(note.read_text())["url"])


def guard(kind: str, run: int, note: Path) -> None:
    """Starts a server, says so, and ends it once the run's process is gone."""
    folder = Path(tempfile.mkdtemp(prefix=f"nexeon-{kind}-"))
    server = _KINDS[kind](folder / "server")
    try:
        folder.chmod(0o755)
        server.make()
        server.start()
        note.write_text(json.dumps({"url": server.url}))
        print("ready", flush=True)
        sys.stdout.close()
        os.close(1)
        while _alive(run):
            time.sleep(0.3)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        note.unlink(missing_ok=True)
        note.with_suffix(".lock").unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


if __name__ == "__main__":
    guard(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
