"""The admin service on a Unix socket of mode 0600: one JSON object a line, a reply for each, in order.

→ `{"method": "accounts.create", "params": {"name": "acme"}, "actor": "cli"}`
← `{"result": …}` or `{"error": {"kind": "NotFound", "message": "…"}}`
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import pwd
import socket
import stat
import struct
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from nexeon.admin.service import AdminService
from nexeon.errors import AdminError, InsufficientCredit, NexeonError

log = logging.getLogger(__name__)

LINE_LIMIT = 64 << 20
# `sun_path` holds 108 bytes on Linux and 104 elsewhere, with the zero at its end.
_LONGEST = 103
_COMFORTABLE = 100
_NOTE = "admin.json"


def find_sockets(folder: Path | None, configured: Path | None = None, shared: Path | None = None) -> list[Path]:
    """Where a gateway on that store folder may listen, or one of those on the database that `shared` is of."""
    candidates = [configured] if configured else []
    if shared is not None:
        candidates += _beside(shared)
    if folder is not None:
        with contextlib.suppress(OSError, orjson.JSONDecodeError, TypeError, KeyError):
            candidates.append(Path(orjson.loads((folder / _NOTE).read_bytes())["socket"]))
        candidates.append(folder / "admin.sock")
    return [path for path in dict.fromkeys(candidates) if path.is_socket()]


def shared_sockets(store_url: str) -> Path | None:
    """What the paths begin with where this user's gateways on a database have their sockets on this machine, in the
    folder of the user's session, else in that for temporary files; "-", the process id and ".sock" follow. None for a
    store that is no database. The password has no part in it."""
    parts = urlsplit(store_url)
    if parts.scheme not in ("postgresql", "postgres"):
        return None
    query = sorted((name, value) for name, value in parse_qsl(parts.query) if "password" not in name)
    told = orjson.dumps([parts.username, parts.netloc.rpartition("@")[2], parts.path, query])
    root = os.environ.get("XDG_RUNTIME_DIR", "")
    base = (
        Path(root, "nexeon") if root and Path(root).is_dir() else Path(tempfile.gettempdir(), f"nexeon-{os.getuid()}")
    )
    return base / hashlib.sha256(told).hexdigest()[:16]


def _beside(shared: Path, pattern: str = "{name}-*.sock") -> list[Path]:
    """The sockets that are there, where nobody else can have put anything; with another pattern, not of this database
    alone."""
    try:
        found = shared.parent.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return sorted(shared.parent.glob(pattern.format(name=shared.name)))
    except OSError:
        pass
    return []


class AdminServer:
    """Serves from `start` to `stop`."""

    def __init__(
        self, service: AdminService, *, folder: Path | None, socket: Path | None = None, shared: Path | None = None
    ) -> None:
        """`folder` is the store's (`None` for a store without one), `socket` the configured path.

        Without a configured path it is `admin.sock` in the folder, or a short one in a private folder, named in the
        store folder's `admin.json`, where that would be too long; without either one of this process beside others, as
        `shared_sockets` says, where it can be made. With nothing of it, nothing is served.
        """
        self._service = service
        self._folder = folder
        self._shared = shared
        self._configured = socket
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._private: Path | None = None
        self.path: Path | None = None

    async def start(self) -> None:
        """Raises AdminError where the socket cannot be made, or another gateway listens on it."""
        self.path = self._place()
        if self.path is None:
            return
        try:
            listener = _listen(self.path)
            self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LINE_LIMIT)
            if self._folder is not None:
                self._note(self._folder)
        except OSError as error:
            raise AdminError(f"the admin socket {self.path} cannot be made: {error.strerror or error}") from error

    async def stop(self) -> None:
        """Ends every connection and takes the socket away."""
        if self._server is None or self.path is None:
            return
        self._server.close()
        for writer in self._connections.values():
            writer.close()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        self.path.unlink(missing_ok=True)
        if self._folder is not None:
            (self._folder / _NOTE).unlink(missing_ok=True)
        if self._private is not None:
            self._private.rmdir()

    def _note(self, folder: Path) -> None:
        """Leaves word of a path that is not the usual one; takes away the word of a gateway that was killed."""
        if self.path == folder / "admin.sock":
            (folder / _NOTE).unlink(missing_ok=True)
        else:
            (folder / _NOTE).write_bytes(orjson.dumps({"socket": str(self.path), "pid": os.getpid()}))

    def _place(self) -> Path | None:
        if self._configured is not None:
            if len(os.fsencode(self._configured)) > _LONGEST:
                raise AdminError(
                    f"admin.socket {self._configured} is longer than {_LONGEST} bytes: choose a shorter path"
                )
            return self._configured
        if self._folder is None:
            return None if self._shared is None else self._among(self._shared)
        path = self._folder / "admin.sock"
        if len(os.fsencode(path)) <= _COMFORTABLE:
            return path
        for root in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):
            if root and Path(root).is_dir() and len(os.fsencode(root)) <= _COMFORTABLE - 30:
                self._private = Path(tempfile.mkdtemp(prefix="nexeon-", dir=root))
                return self._private / "admin.sock"
        raise AdminError(f"{path} is too long for a socket: set admin.socket to a shorter path")

    def _among(self, shared: Path) -> Path | None:
        """Beside those of other gateways, without what those that were killed have left."""
        path = shared.with_name(f"{shared.name}-{os.getpid()}.sock")
        try:
            shared.parent.mkdir(mode=0o700, exist_ok=True)
            for other in _beside(shared, "*.sock"):
                if not Path("/proc", other.stem.rpartition("-")[2]).exists() and not _alive(other):
                    other.unlink(missing_ok=True)
            found = shared.parent.stat()
            if found.st_uid == os.getuid() and not found.st_mode & 0o077 and len(os.fsencode(path)) <= _LONGEST:
                return path
            reason = (
                f"{shared.parent} is not this user's alone" if len(str(path)) <= _LONGEST else "the path is too long"
            )
        except OSError as error:
            reason = f"{shared.parent}: {error.strerror or error}"
        log.warning("there is no admin socket (%s): set admin.socket", reason)
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        peer = _peer(writer)
        try:
            while line := await reader.readline():
                writer.write(orjson.dumps(await self._answer(line, peer), option=orjson.OPT_APPEND_NEWLINE))
                await writer.drain()
        except (ConnectionError, ValueError) as error:
            log.info("an admin connection ended: %s", error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            del self._connections[task]

    async def _answer(self, line: bytes, peer: str) -> dict[str, Any]:
        try:
            match orjson.loads(line):
                case {"method": str(method), "params": dict(params), **rest}:
                    actor = f"{peer} ({rest.get('actor') or 'socket'})"
                    return {"result": await self._service.call(method, params, actor=actor)}
            raise AdminError("a request is a JSON object with `method` and `params`")
        except orjson.JSONDecodeError as error:
            return _refusal(AdminError(f"not JSON: {error}"))
        except NexeonError as error:
            return _refusal(error)
        except Exception:
            # One faulty operation must not take the gateway's admin socket down; the operator finds it in the log.
            log.exception("an admin operation failed")
            return _refusal(AdminError("the operation failed inside the gateway: see its log"))


def _refusal(error: NexeonError) -> dict[str, Any]:
    refusal: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, InsufficientCredit):
        refusal |= {"needed": error.needed, "available": error.available}
    return {"error": refusal}


def _listen(path: Path) -> socket.socket:
    if path.exists() or path.is_symlink():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise AdminError(f"the admin socket {path} cannot be made: something else is there")
        if _alive(path):
            raise AdminError(f"another gateway listens on the admin socket {path}")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must hold from the first moment, not from a chmod after it.
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _peer(writer: asyncio.StreamWriter) -> str:
    """The user at the other end, as the kernel says."""
    connection = writer.get_extra_info("socket")
    try:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return pwd.getpwuid(struct.unpack("3i", credentials)[1]).pw_name
    except (AttributeError, OSError, KeyError, struct.error):
        return "unknown"
