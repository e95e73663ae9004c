"""The door: nothing but the form for the admin token is shown without a session that it began."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from string import Template
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

COOKIE: Final = "nexeon_session"
LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
_LIFE: Final = 12 * 3600.0
_MOST_SESSIONS: Final = 1000
_WRONG_WAIT: Final = 1.0
"""Seconds that a wrong token waits for its answer; one at a time."""

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; form-action 'self'"
    ),
}
_PAGE: Final = Path(__file__).parent / "templates" / "login.html"


class Door:
    """A session is a random cookie that scripts cannot read, which this process alone knows, for twelve hours."""

    def __init__(self, token: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token.encode()
        self._clock = clock
        self._sessions: dict[str, float] = {}
        self._wrong = asyncio.Lock()
        self._page = Template(_PAGE.read_text(encoding="utf-8"))

    def guard(self, app: web.Application) -> None:
        """Stands before every route of the app, its websocket too."""
        app.middlewares.append(self._middleware())
        app.router.add_get(LOGIN, self._form)
        app.router.add_post(LOGIN, self._enter)
        app.router.add_get(LOGOUT, self._leave)

    def _middleware(self) -> Middleware:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await self._pass(request, handler)
            if not response.prepared:
                response.headers.update(_HEADERS)
            return response

        return guarded

    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == LOGIN:
            return await handler(request)
        if given := request.query.get("token"):
            if not await self._right(given):
                return self._refusal("That is not the admin token.")
            # The token leaves the address, and with it the history.
            return self._welcome(request)
        if not self._known(request.cookies.get(COOKIE, "")):
            if request.path == "/" and request.method == "GET":
                raise web.HTTPFound(LOGIN, headers=_HEADERS)
            return web.Response(status=401, text="log in first")
        if request.headers.get("upgrade") and not _same_origin(request):
            return web.Response(status=403, text="a page of another site cannot open the terminal")
        return await handler(request)

    async def _form(self, request: web.Request) -> web.StreamResponse:
        return self._login("")

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        given = form.get("token")
        if not isinstance(given, str) or not await self._right(given.strip()):
            return self._refusal("That is not the admin token.")
        return self._welcome(request)

    async def _leave(self, request: web.Request) -> web.StreamResponse:
        self._sessions.pop(request.cookies.get(COOKIE, ""), None)
        response = web.HTTPFound(LOGIN, headers=_HEADERS)
        response.del_cookie(COOKIE)
        raise response

    async def _right(self, token: str) -> bool:
        if hmac.compare_digest(token.encode(), self._token):
            return True
        async with self._wrong:
            await asyncio.sleep(_WRONG_WAIT)
        return False

    def _known(self, session: str) -> bool:
        ends = self._sessions.get(session)
        if ends is not None and ends <= self._clock():
            del self._sessions[session]
            return False
        return ends is not None

    def _welcome(self, request: web.Request) -> web.StreamResponse:
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session = secrets.token_urlsafe(32)
        self._sessions[session] = self._clock() + _LIFE
        response = web.Response(status=303, headers={"Location": "/"})
        secure = scheme_of(request) == "https"
        response.set_cookie(COOKIE, session, httponly=True, samesite="Strict", secure=secure, path="/")
        return response

    def _refusal(self, words: str) -> web.StreamResponse:
        return self._login(words, status=401)

    def _login(self, words: str, *, status: int = 200) -> web.StreamResponse:
        page = self._page.substitute(problem=escape(words), login=LOGIN)
        return web.Response(text=page, content_type="text/html", status=status)


def scheme_of(request: web.Request) -> str:
    """As the browser sees it, in front of what ends TLS."""
    return request.headers.get("x-forwarded-proto", request.scheme).partition(",")[0].strip()


def _same_origin(request: web.Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.host
