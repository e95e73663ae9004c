"""Addresses become bytes for targets that take only bytes; from public places only, and within limits."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from scripts import says
from shipped import shipped
from upstream import Call, Script, Upstream

from nexeon.config.model import Materialise
from nexeon.gateway import materialise
from nexeon.gateway.materialise import Fetched, Materialiser, Unfetched, addresses, filled, public
from tests.patience import PATIENCE

PDF = b"%PDF-1.7\nhello"
DAY = datetime.timedelta(days=1)
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16
CHAT = {
    "id": "c", "created": 1, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "read"}}],
}  # fmt: skip


def anywhere(address: str, port: int) -> bool:
    return True


def certificate(folder: Path, host: str) -> Path:
    """Of a host that vouches for itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = folder / "host.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *form)
    )
    return file


@pytest.mark.parametrize("known", [True, False])
async def test_only_a_host_that_can_prove_its_name_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    file = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(PDF), PDF))
        writer.close()

    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    materialise._tls.cache_clear()
    server = await asyncio.start_server(answer, "localhost", 0, ssl=context)
    materialiser = Materialiser(Materialise(timeout=PATIENCE), anywhere)
    try:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}/a"
        if known:
            assert (await materialiser.fetch("document", url)).data == PDF
        else:
            with pytest.raises(Unfetched):
                await materialiser.fetch("document", url)
    finally:
        await materialiser.aclose()
        server.close()
        materialise._tls.cache_clear()


def serving(files: dict[str, Script]) -> Script:
    async def script(call: Call) -> None:
        await files[call.path](call)

    return script


def moved(location: str) -> Script:
    return says(b"", 302, {"location": location})


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
        "::ffff:127.0.0.1", "::ffff:10.1.2.3", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1", "ff02::1", "no",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not public(address, 443)


def test_public_addresses_and_ports() -> None:
    assert public("93.184.216.34", 80)
    assert public("2606:2800:220:1:248:1893:25c8:1946", 443)
    assert public("64:ff9b::5db8:d822", 8443)
    assert not public("93.184.216.34", 22)


@pytest.mark.parametrize(
    "url",
    [
        "{server}/pdf", "http://localhost:{port}/pdf", "http://[::1]:{port}/pdf", "http://2130706433:{port}/pdf",
        "http://0x7f.1:{port}/pdf", "http://[::ffff:127.0.0.1]:{port}/pdf", "file:///etc/passwd", "ftp://example.org/x",
        "http://user:secret@127.0.0.1:{port}/pdf", "http:///x", "//x", "",
    ],
)  # fmt: skip
async def test_nothing_inside_is_asked(upstream: Upstream, url: str) -> None:
    upstream.plays(says(PDF))
    fetcher = Materialiser(Materialise())
    with pytest.raises(Unfetched) as caught:
        await fetcher.fetch("document", url.format(server=upstream.url, port=upstream.url.rpartition(":")[2]))
    await fetcher.aclose()
    assert "secret" not in str(caught.value)
    assert not upstream.calls


async def test_a_redirect_cannot_lead_inside(upstream: Upstream) -> None:
    """The first hop is allowed here, the second one is not."""
    port = upstream.url.rpartition(":")[2]
    upstream.plays(serving({"/a": moved(f"http://127.0.0.2:{port}/b"), "/b": says(PDF)}))
    fetcher = Materialiser(Materialise(), lambda address, _: address == "127.0.0.1")
    with pytest.raises(Unfetched, match="not a public one"):
        await fetcher.fetch("document", f"{upstream.url}/a")
    await fetcher.aclose()
    assert [call.path for call in upstream.calls] == ["/a"]


async def test_redirects_are_followed_and_bounded(upstream: Upstream) -> None:
    upstream.plays(serving({"/a": moved("/b"), "/b": says(PDF, kind="application/pdf; x=y"), "/loop": moved("/loop")}))
    fetcher = Materialiser(Materialise(), anywhere)
    assert await fetcher.fetch("document", f"{upstream.url}/a") == Fetched("application/pdf", PDF)
    with pytest.raises(Unfetched, match="redirects too often"):
        await fetcher.fetch("document", f"{upstream.url}/loop")
    await fetcher.aclose()


@pytest.mark.parametrize(
    ("kind", "declared", "data", "media_type"),
    [
        ("document", "application/octet-stream", PDF, "application/pdf"),
        ("document", "", b"plain words", "text/plain"),
        ("document", "text/csv", b"a,b", "text/csv"),
        ("image", "text/plain", PNG, "image/png"),
        ("image", "text/html", b"<html>not found</html>", None),
        ("image", "image/png", b"<html>no picture</html>", None),
        ("image", "application/pdf", PDF, None),
        ("document", "application/octet-stream", b"\x00\x01\xff", None),
        ("document", "application/pdf", b"", None),
        ("audio", "audio/wav", b"RIFF1234WAVEfmt ", "audio/wav"),
    ],
)
async def test_what_it_is_counts(
    upstream: Upstream, kind: str, declared: str, data: bytes, media_type: str | None
) -> None:
    upstream.plays(says(data, kind=declared))
    fetcher = Materialiser(Materialise(), anywhere)
    if media_type is None:
        with pytest.raises(Unfetched):
            await fetcher.fetch(kind, upstream.url)
    else:
        assert (await fetcher.fetch(kind, upstream.url)).media_type == media_type
    await fetcher.aclose()


async def test_size_and_time_are_limited(upstream: Upstream) -> None:
    async def endless(call: Call) -> None:
        await call.begin_stream("application/pdf")
        while not call.left.is_set():
            await call.chunk(b"%PDF-" * 1000)

    async def late(call: Call) -> None:
        await asyncio.wait_for(call.wait_left(), PATIENCE)

    upstream.plays(serving({"/large": says(PDF * 100), "/endless": endless, "/late": late, "/gone": says(b"", 404)}))
    for path, why in {"/large": "larger than", "/endless": "larger than", "/late": "within", "/gone": "404"}.items():
        timeout = 0.3 if path == "/late" else PATIENCE
        fetcher = Materialiser(Materialise(max_bytes=1000, timeout=timeout), anywhere)
        with pytest.raises(Unfetched, match=why):
            await fetcher.fetch("document", upstream.url + path)
        await fetcher.aclose()


async def test_switched_off_is_said(upstream: Upstream) -> None:
    with pytest.raises(Unfetched, match="switched off"):
        await Materialiser(Materialise(enabled=False), anywhere).fetch("document", upstream.url)


def documents(*urls: str) -> dict[str, Any]:
    source = [{"type": "document", "source": {"type": "url", "url": url}} for url in urls]
    content: list[Any] = [{"type": "text", "text": "Read."}, *source]
    return {"max_tokens": 50, "messages": [{"role": "user", "content": content}]}


async def test_a_target_that_takes_bytes_gets_bytes(upstream: Upstream, tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    async def pdf(call: Call) -> None:
        async with asyncio.timeout(PATIENCE):
            await both.wait()  # they come at the same time
        await call.answer(PDF, kind="application/pdf")

    upstream.plays(serving({"/a.pdf": pdf, "/b.pdf": pdf, "/openai/chat/completions": says(CHAT)}))
    async with shipped(upstream, tmp_path) as gate:
        gate.gateway.materialiser = Materialiser(Materialise(), anywhere)
        body = documents(f"{upstream.url}/a.pdf", f"{upstream.url}/b.pdf", f"{upstream.url}/a.pdf")
        answer = await gate.client.post("/v1/messages", json={"model": "openai:openai.chat", **body})
        assert answer.status_code == 200, answer.text
        sent = upstream.calls[-1].json["messages"][0]["content"]
        data = "data:application/pdf;base64," + base64.b64encode(PDF).decode()
        assert [part["file"]["file_data"] for part in sent if part["type"] == "file"] == [data] * 3
        assert len(upstream.calls) == 3


async def test_a_target_that_takes_addresses_gets_them(upstream: Upstream, tmp_path: Path) -> None:
    upstream.plays(says(CHAT))
    async with shipped(upstream, tmp_path) as gate:
        body = documents(f"{upstream.url}/a.pdf")
        answer = await gate.client.post("/v1/messages", json={"model": "openrouter:openai.chat", **body})
        assert answer.status_code == 200, answer.text
        part = upstream.calls[0].json["messages"][0]["content"][1]
        assert part["file"]["file_data"] == f"{upstream.url}/a.pdf"


async def test_what_cannot_be_fetched_names_its_place(upstream: Upstream, tmp_path: Path) -> None:
    upstream.plays(says(CHAT))
    async with shipped(upstream, tmp_path) as gate:
        body = documents("https://example.invalid/a.pdf", f"{upstream.url}/b.pdf")
        answer = await gate.client.post("/v1/messages", json={"model": "openai:openai.chat", **body})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_url")
        assert error["param"] in ("messages[0].content[1].source.url", "messages[0].content[2].source.url")
        assert not upstream.calls
        assert await gate.spent() == 0


def test_what_the_provider_fetches_itself_is_left_to_it() -> None:
    def document(url: str, **more: str) -> dict[str, Any]:
        return {"type": "document", "source": {"kind": "url", "url": url, **more}}

    told = [
        document("https://e.com/a.pdf?x=1"),
        document("https://e.com/a.txt"),
        document("https://e.com/says-nothing"),
        document("https://e.com/b", media_type="text/csv"),
        document("https://e.com/c.txt", media_type="application/pdf"),
        {"type": "tool_result", "call_id": "c", "blocks": [document("https://e.com/d.html")]},
        {"type": "image", "source": {"kind": "url", "url": "https://e.com/e.png"}},
    ]
    turns = [{"role": "user", "blocks": told}]
    here = [url for _, url in addresses(turns, {"document"}, {"document": {"application/pdf"}})]
    assert here == ["https://e.com/a.txt", "https://e.com/b", "https://e.com/d.html"]
    assert len(list(addresses(turns, {"document"}))) == 6


def test_what_a_search_found_is_not_fetched() -> None:
    """However much it is, and whatever its pages have become since."""
    page = {"type": "document", "source": {"kind": "url", "url": "https://a.example/found"}}
    asked = {"type": "document", "source": {"kind": "url", "url": "https://a.example/asked"}}
    turns: list[Any] = [{"blocks": [{"type": "server_tool_result", "blocks": [page] * 30}, asked]}]
    assert list(addresses(turns, {"document"})) == [("document", "https://a.example/asked")]
    fetched = {("document", f"https://a.example/{name}"): Fetched("text/plain", b"") for name in ("found", "asked")}
    found, given = filled(turns, fetched)[0]["blocks"]
    assert found is turns[0]["blocks"][0]
    assert given["source"]["kind"] == "text"
