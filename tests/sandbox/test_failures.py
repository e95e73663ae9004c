"""Errors, delays and cut connections, as a prompt asks for them."""

import asyncio
import time

import httpx
import orjson
import pytest

from nexeon.sandbox import SandboxServer
from tests.patience import PATIENCE, until

STATUSES = [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529]


def check_envelope(name: str, body: dict, status: int) -> str:
    """The error body is the format's own; gives its message."""
    if name == "messages":
        assert body["type"] == "error"
        assert body["error"]["type"].endswith("_error") or body["error"]["type"] == "request_too_large"
        assert body["request_id"]
    elif name == "gemini":
        assert body["error"]["code"] == status
        assert body["error"]["status"].isupper()
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]["message"]


@pytest.mark.parametrize("status", STATUSES)
async def test_an_error_in_the_formats_own_body(asker, status):
    response = await asker.post(f"[[error {status} retry-after=7 message=why]] Hello")
    assert response.status_code == status
    assert response.headers["retry-after"] == "7"
    assert response.headers["content-type"].startswith("application/json")
    assert check_envelope(asker.name, response.json(), status) == "why"


async def test_an_error_of_one_provider_only(asker):
    path, _ = asker.format.request("", False)
    provider = path.split("/")[1]
    assert (await asker.post(f"[[error 503 at={provider}]] x")).status_code == 503
    assert (await asker.post("[[error 503 at=other]] x")).status_code == 200


async def test_an_error_of_one_key_only(http):
    body = {"model": "m", "messages": [{"role": "user", "content": "[[error 401 key=-bad]] x"}]}
    for headers in ({"authorization": "Bearer a-bad"}, {"x-api-key": "a-bad"}, {"x-goog-api-key": "a-bad"}):
        assert (await http.post("/chat/completions", json=body, headers=headers)).status_code == 401
    assert (await http.post("/chat/completions?key=a-bad", json=body)).status_code == 401
    assert (await http.post("/chat/completions?key=a-good", json=body)).status_code == 200
    assert (await http.post("/chat/completions", json=body)).status_code == 200


async def test_an_error_that_passes(asker):
    text = f"[[error 503 times=2]] {asker.name} {asker.stream}"
    statuses = [(await asker.post(text)).status_code for _ in range(6)]
    assert statuses == [503, 503, 200] * 2


async def test_a_page_in_place_of_an_answer(asker):
    response = await asker.post("[[html 502]] Hello")
    assert response.status_code == 502
    assert response.headers["content-type"].startswith("text/html")
    assert response.text.startswith("<html>")


async def test_a_wrong_directive_is_explained(asker):
    response = await asker.post("[[delay soon]] Hello")
    assert response.status_code == 400
    assert "[[delay 200ms]]" in check_envelope(asker.name, response.json(), 400)


@pytest.mark.parametrize("after", [0, 1, 3, 6])
async def test_an_error_in_the_middle_of_a_stream(streamer, after):
    response = await streamer.post(f"[[error-after {after}]] [[tokens 20]] Hello")
    assert response.status_code == 200
    events = streamer.events(response.content)
    extra = 2 if streamer.name == "responses" else 1
    assert len(events) == after + extra
    if after >= 2:
        assert streamer.format.fold(events).error is not None


async def test_an_error_after_some_events_without_a_stream_is_a_status(plain_asker):
    response = await plain_asker.post("[[error-after 3]] Hello")
    assert response.status_code == 500
    check_envelope(plain_asker.name, response.json(), 500)


async def _collect(http: httpx.AsyncClient, path: str, body: dict, chunks: list[bytes]) -> None:
    async with http.stream("POST", path, content=orjson.dumps(body)) as response:
        assert response.status_code == 200
        async for chunk in response.aiter_raw():
            chunks.append(chunk)  # noqa: PERF401 - what arrived before the failure counts


@pytest.mark.parametrize("after", [0, 3])
async def test_a_cut_connection(asker, after):
    path, body = asker.format.request(f"[[cut-after {after}]] [[tokens 20]] Hello", asker.stream)
    chunks: list[bytes] = []
    with pytest.raises(httpx.RemoteProtocolError):
        await _collect(asker.http, path, body, chunks)
    received = b"".join(chunks)
    if asker.stream:
        assert len(asker.events(received)) == after if received else after == 0
    else:
        assert received
    assert (await asker.ask("And on")).text == "Echo: And on"


async def test_pauses(streamer):
    started = time.perf_counter()
    path, body = streamer.format.request("[[delay 30ms]] [[tokens 5]] x", True)
    async with streamer.http.stream("POST", path, content=orjson.dumps(body)) as response:
        arrivals = [(time.perf_counter() - started, chunk) async for chunk in response.aiter_raw()]
    events = streamer.events(b"".join(chunk for _, chunk in arrivals))
    assert len(arrivals) >= len(events) - 1
    assert arrivals[-1][0] >= 0.03 * (len(events) - 1) * 0.9


async def test_first_byte_and_first_event(http, asker):
    for directive, header_least in (("first-byte", 0.15), ("first-event", 0)):
        path, body = asker.format.request(f"[[{directive} 150ms]] x", asker.stream)
        started = time.perf_counter()
        async with http.stream("POST", path, content=orjson.dumps(body)) as response:
            headers = time.perf_counter() - started
            await response.aread()
        assert header_least * 0.9 <= headers
        assert time.perf_counter() - started >= 0.15 * 0.9
    path, body = asker.format.request("[[first-event 600s]] x", asker.stream)
    async with asyncio.timeout(PATIENCE), http.stream("POST", path, content=orjson.dumps(body)) as response:
        assert response.status_code == 200


async def test_a_stream_as_an_array(http):
    body = {"contents": [{"parts": [{"text": "Hello"}]}]}
    path = "/v1beta/models/some/model:streamGenerateContent"
    response = await http.post(path, json=body)
    assert response.headers["content-type"].startswith("application/json")
    chunks = response.json()
    assert "".join(chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks) == "Echo: Hello"
    assert chunks[0]["modelVersion"] == "some/model"
    for after in (0, 2):
        body["contents"][0]["parts"][0]["text"] = f"[[error-after {after}]] Hello"
        chunks = (await http.post(path, json=body)).json()
        assert len(chunks) == after + 1
        assert chunks[-1]["error"]["status"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/x/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/x/chat/completions", {"model": "m", "messages": []}),
        ("/x/chat/completions", {"model": "m", "messages": [3]}),
        ("/x/chat/completions", {"model": "m", "messages": [{"role": "user"}], "stream_options": {}, "tools": [1]}),
        ("/x/responses", {"model": "m"}),
        ("/x/responses", {"model": "m", "input": []}),
        ("/x/messages", {"model": "m", "messages": [{"role": "user", "content": "x"}]}),
        ("/x/messages", {"model": "m", "max_tokens": 1, "messages": [{"role": "tool", "content": "x"}]}),
        ("/x/models/m:generateContent", {}),
    ],
)
async def test_a_request_that_lacks_what_it_needs(http, path, body):
    response = await http.post(path, json=body)
    assert response.status_code == 400
    name = {"completions": "chat", "responses": "responses", "messages": "messages"}.get(path.split("/")[-1], "gemini")
    assert check_envelope(name, response.json(), 400)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff"])
@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/messages", "/models/m:generateContent"])
async def test_a_body_that_is_no_object(http, path, raw):
    response = await http.post(path, content=raw)
    assert response.status_code == 400
    assert "body" in response.text


async def test_unknown_paths_and_the_list_of_models(http):
    assert (await http.post("/x/embeddings", json={})).status_code == 404
    assert (await http.get("/x/chat")).status_code == 404
    assert (await http.get("/x/models")).json()["data"]


async def test_counting(http):
    messages = [{"role": "user", "content": "Count me"}]
    counts = [
        ("/a/messages/count_tokens", {"model": "m", "messages": messages}, "input_tokens", "/a/messages"),
        ("/a/responses/input_tokens", {"model": "m", "input": messages}, "input_tokens", "/a/responses"),
    ]
    for path, body, key, answers in counts:
        counted = (await http.post(path, json=body)).json()[key]
        answered = (await http.post(answers, json=body | {"max_tokens": 9})).json()["usage"]["input_tokens"]
        assert counted == answered > 0
    request = {"contents": [{"parts": [{"text": "Count me"}]}]}
    whole = (await http.post("/a/models/m:generateContent", json=request)).json()["usageMetadata"]
    for body in (request, {"generateContentRequest": request | {"model": "models/m"}}):
        counted = (await http.post("/a/models/m:countTokens", json=body)).json()
        assert counted["totalTokens"] == whole["promptTokenCount"]


async def test_the_server_starts_and_stops_and_leaves_the_port():
    server = SandboxServer()
    url = await server.start()
    async with httpx.AsyncClient() as client:
        assert (await client.get(url + "/models")).status_code == 200
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "[[first-event 600s]] x"}]}
        async with client.stream("POST", url + "/chat/completions", json=body) as response:
            assert response.status_code == 200
            async with asyncio.timeout(PATIENCE):
                await server.stop()
            with pytest.raises(httpx.HTTPError):
                await response.aread()
        with pytest.raises(httpx.ConnectError):
            await client.get(url + "/models")
    await server.stop()
    port = int(url.rpartition(":")[2])
    async with SandboxServer(port) as again:
        assert again == url
        with pytest.raises(OSError, match="in use"):
            await SandboxServer(port).start()


async def test_a_client_that_leaves_is_noticed():
    server = SandboxServer()
    url = await server.start()
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "[[delay 10s]] [[tokens 99]]"}]}
    async with httpx.AsyncClient() as client:
        async with client.stream("POST", url + "/chat/completions", json=body) as response:
            assert response.status_code == 200
            assert (server.served, server.active) == (1, 1)
        await until(lambda: not server.active)
    await server.stop()


async def test_many_requests_on_one_connection_and_at_once(http):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    answers = await asyncio.gather(*(http.post("/x/chat/completions", json=body) for _ in range(200)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 200
