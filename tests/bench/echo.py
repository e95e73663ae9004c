"""The yardstick: the same server and client libraries with no features. `python -m tests.bench.echo PORT UPSTREAM`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import httpx
import uvloop
from httpx_aiohttp import AiohttpTransport
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request


def create_app(upstream: str) -> Quart:
    app = Quart(__name__)
    app.config["RESPONSE_TIMEOUT"] = None
    client = httpx.AsyncClient(transport=AiohttpTransport(limits=httpx.Limits(max_connections=0)), timeout=None)

    app.after_serving(client.aclose)

    @app.post("/<path:path>")
    async def forward(path: str) -> Response:
        body = await request.get_data()
        headers = {"content-type": "application/json"}
        call = client.build_request("POST", f"{upstream}/{path}", content=body, headers=headers)
        answer = await client.send(call, stream=True)

        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in answer.aiter_raw():
                yield chunk
            await answer.aclose()

        if answer.headers["content-type"].startswith("text/event-stream"):
            return Response(chunks(), content_type="text/event-stream")
        data = await answer.aread()
        await answer.aclose()
        return Response(data, content_type="application/json")

    return app


async def main(port: int, upstream: str) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = config.errorlog = None
    print("ready", flush=True)
    await serve(create_app(upstream), config)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
