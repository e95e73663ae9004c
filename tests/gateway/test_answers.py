"""What an operator and a key may do with kept answers, and what is kept of what went wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest
import yaml

from nexeon.admin.accounts import Accounts
from nexeon.config import load_config
from nexeon.data import data_path
from nexeon.gateway.gateway import Gateway
from nexeon.gateway.repeats.idempotency import Kept
from nexeon.gateway.server.app import create_app, gateway_of, services_of
from nexeon.mapping import Library, load_library
from nexeon.sandbox.app import create_app as create_sandbox
from nexeon.store import open_store, to_nano
from nexeon.store.guests import GuestStore
from tests.patience import PATIENCE

MODEL = "gpt-5"
Opened = Callable[..., Awaitable[tuple[httpx.AsyncClient, Gateway]]]


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library([data_path("mappings")])


@pytest.fixture
async def opened(tmp_path: Path, library: Library) -> AsyncIterator[Opened]:
    """Opens a gateway with the shipped configuration and these changes, in front of the offline upstream."""
    ends: list[Callable[[], Awaitable[Any]]] = []

    async def start(**changes: Any) -> tuple[httpx.AsyncClient, Gateway]:
        file = tmp_path / "own.yaml"
        file.write_text(yaml.safe_dump({"store": {"url": f"tinydb:{tmp_path / 'data'}"}, **changes}))
        config = load_config([data_path("gateway.yaml"), file], environ={"OPENAI_API_KEY": "secret"})
        store = GuestStore(await open_store("memory:"))
        _, secret = await store.welcome("guest", to_nano("10"))
        upstream = httpx.ASGITransport(create_sandbox())  # type: ignore[arg-type]
        app = create_app(config, library, store, transport=lambda _: upstream)
        gateway = gateway_of(app)
        await services_of(app).start()
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),  # type: ignore[arg-type]
            base_url="http://gateway/v1",
            headers={"authorization": f"Bearer {secret}"},
        )
        ends.extend((store.close, services_of(app).stop, client.aclose))
        return client, gateway

    yield start
    for end in reversed(ends):
        await end()


async def ask(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await client.post("/responses", json={"model": MODEL, "input": "Hi", **more})


async def test_nothing_is_kept(opened: Opened) -> None:
    client, _ = await opened(responses={"store": False})
    answer = (await ask(client)).json()
    assert answer["store"] is False
    assert (await client.get(f"/responses/{answer['id']}")).status_code == 404
    refused = await ask(client, background=True)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "background")
    refused = await ask(client, previous_response_id=answer["id"])
    assert refused.json()["error"]["code"] == "previous_response_not_found"


async def test_too_large_to_keep(opened: Opened) -> None:
    client, _ = await opened(responses={"max_bytes": "4kB"})
    small, large = (await ask(client)).json(), (await ask(client, input="word " * 1000)).json()
    assert (await client.get(f"/responses/{small['id']}")).status_code == 200
    assert (await client.get(f"/responses/{large['id']}")).status_code == 404


async def test_an_accounts_room(opened: Opened) -> None:
    """The oldest answers go; what is gone cannot be gone on from, and says so."""
    client, gateway = await opened(responses={"account_bytes": "6kB"})
    ids = [(await ask(client, input=f"{n} " + token_hex(500))).json()["id"] for n in range(12)]
    await gateway.answers.flush()  # what is still to be written is found, too
    left = [id for id in ids if (await client.get(f"/responses/{id}")).status_code == 200]
    assert 0 < len(left) < 12
    assert left == ids[-len(left) :]
    gone = await ask(client, previous_response_id=ids[0])
    assert gone.json()["error"]["code"] == "previous_response_not_found"
    assert (await ask(client, previous_response_id=ids[-1])).status_code == 200


async def test_a_background_answer_is_charged_once(opened: Opened) -> None:
    client, gateway = await opened()
    before = (await client.get("/me")).json()["balance"]
    answer = (await ask(client, background=True)).json()
    await gateway.behind.stop(PATIENCE)
    await gateway.settler.drain(PATIENCE)
    found = (await client.get(f"/responses/{answer['id']}")).json()
    assert found["status"] == "completed"
    after = (await client.get("/me")).json()
    assert float(after["balance"]) < float(before)
    assert float(after["reserved"]) == 0
    assert found["usage"]["total_tokens"] > 0
    assert gateway.behind.running == {}
    assert gateway.calls == {}


async def test_a_cancelled_answer_holds_no_credit(opened: Opened) -> None:
    client, gateway = await opened()
    before = (await client.get("/me")).json()["balance"]
    answer = (await ask(client, input="[[first-byte 600s]] Hi", background=True)).json()
    assert (await client.post(f"/responses/{answer['id']}/cancel")).json()["status"] == "cancelled"
    await gateway.settler.drain(PATIENCE)
    after = (await client.get("/me")).json()
    assert (after["balance"], float(after["reserved"])) == (before, 0)


async def test_deleting_ends_it(opened: Opened) -> None:
    client, gateway = await opened()
    answer = (await ask(client, input="[[first-byte 600s]] Hi", background=True)).json()
    assert (await client.delete(f"/responses/{answer['id']}")).json()["deleted"] is True
    assert gateway.behind.running == {}
    assert (await client.get(f"/responses/{answer['id']}")).status_code == 404


async def test_admission_is_told_at_once(opened: Opened) -> None:
    """A background request that may not run is refused like any other one."""
    client, _ = await opened()
    unknown = await client.post("/responses", json={"model": "nobody", "input": "Hi", "background": True})
    assert unknown.status_code == 404
    poor = await client.post(
        "/responses", json={"model": "gpt-6-astra", "input": "word " * 10**6, "background": True, "store": True}
    )
    assert poor.status_code == 402


async def test_errors_of_the_paths(opened: Opened) -> None:
    client, _ = await opened()
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        answer = await client.request(method, f"/responses/resp_nex-none{path}")
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert "resp_nex-none" in error["message"]
        assert answer.headers["x-should-retry"] == "false"
    assert (await client.put("/responses/resp_nex-none")).status_code == 405
    nobody = await client.get("/responses/resp_nex-none", headers={"authorization": "Bearer nex-sk-none"})
    assert nobody.status_code == 401


async def test_a_failed_stream_is_kept(opened: Opened) -> None:
    client, _ = await opened()
    answer = await ask(client, input="[[tokens 40]] [[error-after 12]]", stream=True)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    kept = (await client.get(f"/responses/{events[0]['response']['id']}")).json()
    assert kept["status"] == "failed"
    assert kept == events[-1]["response"]


async def test_the_pipe_is_told_the_whole(opened: Opened) -> None:
    """What the client gets says what the gateway does, whatever the provider was told."""
    client, _ = await opened()
    first = (await ask(client)).json()
    second = (await ask(client, previous_response_id=first["id"])).json()
    assert (first["store"], first["previous_response_id"]) == (True, None)
    assert (second["store"], second["previous_response_id"], second["background"]) == (True, first["id"], False)


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"background": True}], ids=["json", "stream", "background"])
async def test_what_is_deleted_does_not_come_again_under_its_key(opened: Opened, more: dict[str, Any]) -> None:
    client, gateway = await opened()

    async def ask(key: str, **more: Any) -> httpx.Response:
        body = {"model": MODEL, "input": "Say something secret.", **more}
        return await client.post("/responses", json=body, headers={"idempotency-key": key})

    async def keys(wanted: str) -> list[str]:
        query = f"SELECT key FROM kept WHERE {wanted}"
        rows = await gateway.repeats._database.run(lambda connection: connection.execute(query).fetchall())
        return sorted(row[0] for row in rows)

    first, other = await ask("once", **more), await ask("other")
    told = first.text.split('"id":"resp_')[1].split('"')[0] if "stream" in more else first.json()["id"][5:]
    assert (await ask("once", **more)).headers["x-nexeon-replayed"] == "true"
    assert (await client.delete(f"/responses/resp_{told}")).status_code == 200
    assert await keys("body IS NULL") == ["once"]
    again = await ask("once", **more)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "idempotent_answer_not_kept")
    assert (await ask("other")).content == other.content

    store = gateway.store
    assert isinstance(store, GuestStore)
    await gateway.settler.drain(PATIENCE)
    accounts = Accounts(store.guests)
    accounts.gone = gateway.repeats.forget_account
    account = (await accounts.list())["items"][0]["id"]
    await accounts.delete(account=account)
    assert await keys("TRUE") == []


async def test_a_keyed_stream_in_the_background_is_made_once(opened: Opened) -> None:
    """Its events come again from where they are kept, also to one who comes while it is made."""
    client, gateway = await opened()
    body = {"model": MODEL, "input": "Hi", "background": True, "stream": True}

    async def ask() -> httpx.Response:
        return await client.post("/responses", json=body, headers={"idempotency-key": "once"})

    first = await ask()
    assert "event: response.completed" in first.text
    again = await ask()
    assert again.headers["x-nexeon-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.text == first.text
    other = {"json": {**body, "input": "Ho"}, "headers": {"idempotency-key": "once"}}
    assert (await client.post("/responses", **other)).status_code == 422  # type: ignore[arg-type]
    await gateway.settler.drain(PATIENCE)
    store = gateway.store
    assert isinstance(store, GuestStore)
    assert len([entry for entry in await store.guests.history() if entry.kind == "charge"]) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_key_is_known_before_its_work_in_the_background_begins(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """A crash after that cannot have it made twice; a client that leaves before that gets nothing made."""
    client, gateway = await opened()
    before = (await client.get("/me")).json()["balance"]
    keep = gateway.repeats.keep
    kept: list[str] = []

    async def watched(account: str, key: str, mark: bytes, answer: Kept, *more: Any) -> None:
        assert gateway.behind.running == {}, "it has begun already"
        await keep(account, key, mark, answer, *more)
        kept.append(more[-1])
        raise asyncio.CancelledError  # the client leaves as soon as it is written

    async def ask() -> httpx.Response:
        body = {"model": MODEL, "input": "Hi", "background": True, "stream": stream}
        return await client.post("/responses", json=body, headers={"idempotency-key": "once"})

    monkeypatch.setattr(gateway.repeats, "keep", watched)
    with pytest.raises(asyncio.CancelledError):
        await ask()
    monkeypatch.undo()
    (id,) = kept
    assert (await client.get(f"/responses/{id}")).json()["status"] == "cancelled"
    again = await ask()
    assert again.headers["x-nexeon-replayed"] == "true"
    assert id in again.text
    await gateway.settler.drain(PATIENCE)
    after = (await client.get("/me")).json()
    assert (after["balance"], float(after["reserved"])) == (before, 0)
