"""What a server loads before it is ready: nothing that its first answer does not need."""

from __future__ import annotations

import subprocess
import sys

SERVER = """
import ssl, sys
from nexeon.gateway.server.libraries import import_libraries
own = dict(vars(ssl.SSLContext))
import_libraries()
assert dict(vars(ssl.SSLContext)) == own, "TLS of others is as it was"
import aiohttp.connector, httpx
certificates = aiohttp.connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"]
assert not certificates, f"{certificates} certificates that nobody asks for"
assert httpx.URL("http://a").host == "a"
import nexeon.gateway.server.serve
import_libraries()
spared = {
    "anyio", "asyncpg", "cryptography", "jsonschema", "opentelemetry", "pygments", "redis", "rich", "textual",
    "watchfiles",
}
print(*sorted(spared & set(sys.modules)))
"""


def test_a_server_loads_nothing_that_can_wait() -> None:
    done = subprocess.run([sys.executable, "-c", SERVER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")
