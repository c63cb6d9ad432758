"""Guard: who may read the page, and what its answers allow a browser to do.

Without a token the page serves this machine only, and only under this machine's names, so that no page of the web can
reach it through a name of its own. Beyond this machine a token is needed.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
COOKIE = "fedtrack_ui"
#: Nothing from elsewhere, nothing inline, nothing evaluated, and no page may show this one in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """An ASGI application in front of the page.

    Args:
        app: The page.
        token: The token; "" for a page that serves this machine only.
        hosts: The names under which the page may be asked, without ports.
    """

    def __init__(self, app: ASGIApp, token: str = "", hosts: frozenset[str] = LOOPBACK) -> None:
        self._app, self._token, self._hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        guarded = _with_headers(send)
        if refusal is not None:
            await refusal(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> PlainTextResponse | RedirectResponse | None:
        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("The page is only read: use GET.\n", 405)
        name = host_name(headers.get("host", ""))
        if not self._token:
            return None if name in self._hosts else _unknown_host(name)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if given and hmac.compare_digest(given.encode(), self._token.encode()):
            return self._with_cookie(scope)
        known = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if any(hmac.compare_digest(one.encode(), self._token.encode()) for one in (known, bearer)):
            return None
        return PlainTextResponse("Open the address with ?token=... that `fedtrack ui` has printed.\n", 401)

    def _with_cookie(self, scope: Scope) -> RedirectResponse:
        """Keep the token in a cookie, and take it out of the address, where others could see it."""
        url = URL(scope=scope)
        rest = {name: values for name, values in parse_qs(url.query).items() if name != "token"}
        answer = RedirectResponse(f"{url.path}?{urlencode(rest, doseq=True)}" if rest else url.path, 303)
        answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict", secure=url.scheme == "https")
        return answer


def host_name(host: str) -> str:
    """Return the name in a ``Host`` header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _unknown_host(name: str) -> PlainTextResponse:
    known = ", ".join(sorted(LOOPBACK))
    return PlainTextResponse(f"{name!r} is no name of this page; valid are {known}.\n", 421)


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
