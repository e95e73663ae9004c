"""The socket and the two ways to the store."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from nexeon.admin import AdminServer, AdminService, connect
from nexeon.admin.client import SocketClient, connect_running
from nexeon.admin.socket import shared_sockets
from nexeon.errors import AdminError, AdminUnreachable, InsufficientCredit, NotFound, StoreLocked
from nexeon.store import open_store
from nexeon.store.memory import MemoryStore


@pytest.fixture
def folder() -> Iterator[Path]:
    """A store folder with a path that is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="nx", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
async def gateway(folder: Path) -> AsyncIterator[AdminServer]:
    store = await open_store(f"tinydb:{folder}")
    server = AdminServer(AdminService(store), folder=folder)
    await server.start()
    yield server
    await server.stop()
    await store.close()


async def test_a_client_reaches_the_gateway_that_runs(gateway: AdminServer, folder: Path) -> None:
    assert gateway.path == folder / "admin.sock"
    assert gateway.path.stat().st_mode & 0o777 == 0o600
    client = await connect(f"tinydb:{folder}")
    assert client.where == "gateway"
    made = await client.call("accounts.create", name="acme")
    assert (await client.call("accounts.list"))["items"] == [made]
    assert (await client.call("status"))["pid"] == os.getpid()
    with pytest.raises(NotFound, match="no account `x`"):
        await client.call("accounts.show", account="x")
    with pytest.raises(AdminError, match="missing a required argument"):
        await client.call("accounts.show")
    await client.close()


async def test_without_a_gateway_the_store_itself_is_used(folder: Path) -> None:
    client = await connect(f"tinydb:{folder}")
    assert client.where == "store"
    await client.call("accounts.create", name="acme")
    with pytest.raises(StoreLocked, match=str(os.getpid())):
        await connect(f"tinydb:{folder}", wait=0)
    await client.close()
    again = await connect(f"tinydb:{folder}")
    assert [each["name"] for each in (await again.call("accounts.list"))["items"]] == ["acme"]
    await again.close()


async def test_one_command_waits_for_another(folder: Path) -> None:
    first = await connect(f"tinydb:{folder}")
    second = asyncio.create_task(connect(f"tinydb:{folder}"))
    await asyncio.sleep(0.1)
    assert not second.done()
    await first.close()
    await (await second).close()


async def test_many_clients_at_once(gateway: AdminServer, folder: Path) -> None:
    clients = [await connect(f"tinydb:{folder}") for _ in range(8)]
    await clients[0].call("accounts.create", name="acme")
    await asyncio.gather(*(client.call("credits.add", account="acme", usd="0.1") for client in clients * 10))
    assert (await clients[0].call("accounts.show", account="acme"))["balance"] == "8.00"
    for client in clients:
        await client.close()


async def test_a_long_folder_gets_a_short_socket_named_in_it(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    store = await open_store(f"tinydb:{folder}")
    server = AdminServer(AdminService(store), folder=folder)
    await server.start()
    assert server.path is not None
    private = server.path.parent
    assert len(str(server.path)) <= 100
    assert private.stat().st_mode & 0o777 == 0o700
    assert orjson.loads((folder / "admin.json").read_bytes()) == {"socket": str(server.path), "pid": os.getpid()}
    client = await connect(f"tinydb:{folder}")
    assert client.where == "gateway"
    await client.close()
    await server.stop()
    assert not private.exists()
    assert not (folder / "admin.json").exists()
    await store.close()


async def test_a_configured_socket_serves_a_store_without_a_folder(folder: Path) -> None:
    path = folder / "mine.sock"
    server = AdminServer(AdminService(MemoryStore()), folder=None, socket=path)
    await server.start()
    client = await connect("memory:", socket=path)
    assert client.where == "gateway"
    await client.call("accounts.create", name="acme")
    await client.close()
    await server.stop()
    assert not path.exists()
    with pytest.raises(AdminError, match=r"admin\.socket"):
        await connect("memory:", socket=path)


async def test_without_folder_and_path_nothing_is_served() -> None:
    server = AdminServer(AdminService(MemoryStore()), folder=None)
    await server.start()
    assert server.path is None
    await server.stop()


DATABASE = "postgresql://nexeon:{password}@nowhere.invalid/nexeon?search_path=mine"


async def test_a_gateway_on_a_database_is_found_by_its_url(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    url = DATABASE.format(password="one")
    shared = shared_sockets(url)
    assert shared is not None
    assert shared != shared_sockets(url.replace("mine", "other"))
    shared.parent.mkdir(mode=0o700)
    for name in (shared.name, "0123456789abcdef"):
        left = shared.with_name(f"{name}-999999999.sock")
        dead = await asyncio.start_unix_server(lambda reader, writer: None, path=str(left))
        dead.close()
        await dead.wait_closed()
    server = AdminServer(AdminService(MemoryStore()), folder=None, shared=shared)
    await server.start()
    assert server.path is not None
    assert (server.path.stat().st_mode & 0o777, server.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "one" not in str(server.path)
    client = await connect(DATABASE.format(password="two"))
    assert (client.where, client.place) == ("gateway", str(server.path))
    await client.close()
    assert await connect_running(url.replace("mine", "other")) is None
    await server.stop()
    assert not list(shared.parent.iterdir()), "and what killed ones left is gone, too"
    assert await connect_running(url) is None


async def test_a_folder_that_others_may_enter_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    url = DATABASE.format(password="one")
    shared = shared_sockets(url)
    assert shared is not None
    shared.parent.mkdir()
    shared.parent.chmod(0o777)
    server = AdminServer(AdminService(MemoryStore()), folder=None, shared=shared)
    await server.start()
    assert server.path is None
    assert "is not this user's alone" in caplog.text
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as planted:
        planted.bind(str(shared.with_name(f"{shared.name}-1.sock")))
        planted.listen()
        assert await connect_running(url) is None


async def test_what_a_killed_gateway_left_is_replaced(folder: Path) -> None:
    (folder / "admin.json").write_bytes(orjson.dumps({"socket": str(folder / "old.sock")}))
    for name in ("admin.sock", "old.sock"):
        dead = await asyncio.start_unix_server(lambda reader, writer: None, path=str(folder / name))
        dead.close()
        await dead.wait_closed()
    client = await connect(f"tinydb:{folder}")
    assert client.where == "store"
    await client.close()
    store = await open_store(f"tinydb:{folder}")
    server = AdminServer(AdminService(store), folder=folder)
    await server.start()
    client = await connect(f"tinydb:{folder}")
    assert client.where == "gateway"
    await client.close()
    await server.stop()
    await store.close()


async def test_a_socket_is_never_taken_from_a_live_gateway(gateway: AdminServer, folder: Path) -> None:
    other = AdminServer(AdminService(MemoryStore()), folder=None, socket=folder / "admin.sock")
    with pytest.raises(AdminError, match="another gateway listens"):
        await other.start()
    (folder / "file").write_text("")
    with pytest.raises(AdminError, match="something else is there"):
        await AdminServer(AdminService(MemoryStore()), folder=None, socket=folder / "file").start()
    with pytest.raises(AdminError, match="longer than"):
        await AdminServer(AdminService(MemoryStore()), folder=None, socket=folder / ("y" * 120)).start()


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{\n", b'{"method": 5, "params": {}}\n', b'{"method": "status"}\n'])
async def test_nonsense_is_answered_and_the_connection_lives(gateway: AdminServer, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(gateway.path))
    writer.write(line)
    assert orjson.loads(await reader.readline())["error"]["kind"] == "AdminError"
    writer.write(b'{"method": "status", "params": {}}\n')
    assert "result" in orjson.loads(await reader.readline())
    writer.close()
    await writer.wait_closed()


async def test_the_kernel_names_the_actor(gateway: AdminServer, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nexeon.admin.audit")
    client = await connect(f"tinydb:{folder}", actor="tui")
    await client.call("accounts.create", name="acme")
    await client.close()
    assert caplog.records[-1].getMessage().startswith(f"{getpass.getuser()} (tui): accounts.create acc_")


async def test_a_fault_inside_is_logged_and_named(
    gateway: AdminServer, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def faulty(self: AdminService, method: str, params: Any, *, actor: str) -> Any:
        if method == "status":
            raise RuntimeError("a fault")
        raise InsufficientCredit(needed=5, available=3)

    monkeypatch.setattr(AdminService, "call", faulty)
    client = await connect(f"tinydb:{folder}")
    with pytest.raises(AdminError, match="see its log"):
        await client.call("status")
    assert "a fault" in caplog.text
    with pytest.raises(InsufficientCredit) as caught:
        await client.call("other")
    assert (caught.value.needed, caught.value.available) == (5, 3)
    await client.close()


async def test_a_gateway_that_goes_away_is_an_error_of_the_call(folder: Path) -> None:
    store = await open_store(f"tinydb:{folder}")
    server = AdminServer(AdminService(store), folder=folder)
    await server.start()
    client = await SocketClient.open(folder / "admin.sock", actor="test")
    await client.call("status")
    await server.stop()
    with pytest.raises(AdminError, match="admin"):
        await client.call("status")
    await client.close()
    await store.close()


async def test_a_call_that_is_cancelled_leaves_nothing_to_the_next_one(gateway: AdminServer, folder: Path) -> None:
    client = await connect(f"tinydb:{folder}")
    await client.call("accounts.create", name="acme")
    for _ in range(5):
        given_up = asyncio.create_task(client.call("status"))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert (await client.call("accounts.show", account="acme"))["name"] == "acme"
    await client.close()


async def test_a_gateway_that_comes_back_is_found_by_the_next_call(folder: Path) -> None:
    store = await open_store(f"tinydb:{folder}")
    first = AdminServer(AdminService(store), folder=folder)
    await first.start()
    client = await SocketClient.open(folder / "admin.sock", actor="test")
    await asyncio.gather(*(client.call("status") for _ in range(20)))
    await first.stop()
    with pytest.raises(AdminUnreachable):
        await client.call("status")
    second = AdminServer(AdminService(store), folder=folder)
    await second.start()
    assert (await client.call("status"))["pid"] == os.getpid()
    await client.close()
    await second.stop()
    await store.close()
