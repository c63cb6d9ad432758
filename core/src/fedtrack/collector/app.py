"""App: the HTTP side of a collector: who may speak, how much, and for which run.

A request's site and run come from its token and its address. Nothing in a message can change them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import ceil
from typing import TYPE_CHECKING, Protocol

import anyio
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fedtrack.collector.tokens import Token, Tokens
from fedtrack.connection.names import checked_run, checked_site
from fedtrack.errors import ConfigError, FedtrackError
from fedtrack.transport.https import CONTENT_TYPE, SITE_HEADER
from fedtrack.transport.quota import OVER_QUOTA
from fedtrack.transport.wire import decode_ack

if TYPE_CHECKING:
    from starlette.requests import Request

log = logging.getLogger(__name__)

#: The largest message: 1 MiB of frames or of a file, or one record that is as large as a record may be.
MAX_BODY = 2 * 1024 * 1024 + 64 * 1024
#: Bodies in memory, and threads that store them.
_BODIES, _THREADS = 64, 32
#: Seconds in which a site must have sent its message.
_BODY_SECONDS = 30.0
_FULL_RETRY_SECONDS = 30
#: A length with more digits is too large; a number of thousands of them is none for Python.
_MAX_DIGITS = 15


class Intakes(Protocol):
    """The runs of a collector, as the app sees them."""

    @property
    def full(self) -> str:
        """Why nothing is stored any more; "" if there is room."""

    def handle(self, run: str, site: str, data: bytes) -> bytes:
        """Answer a message of a site; called by many threads at once."""

    def metrics(self) -> str:
        """Return the collector's own metrics, in the text format of Prometheus."""


class CollectorApp:
    """The routes of a collector.

    Args:
        tokens: The tokens.
        intakes: The runs.
        hosts: Names by which the collector may be called; None if its certificate says so.
        proxy: The only address from which requests may come, that of a proxy; "" for every address.
    """

    def __init__(self, tokens: Tokens, intakes: Intakes, hosts: frozenset[str] | None = None, proxy: str = "") -> None:
        self._tokens = tokens
        self._intakes = intakes
        self._hosts = hosts
        self._proxy = proxy
        self._bodies = CapacityLimiter(_BODIES)
        self._threads = CapacityLimiter(_THREADS)
        self._refused: set[str] = set()

    def asgi(self) -> Starlette:
        """Return the application for an ASGI server."""
        message = self._checked(self._message)
        return Starlette(
            routes=[
                Route("/v1/runs/{run}/messages", message, methods=["POST"]),
                Route("/v1/runs/{run}/sites/{site}/messages", message, methods=["POST"]),
                Route("/healthz", self._checked(self._health), methods=["GET"]),
                Route("/metrics", self._checked(self._metrics), methods=["GET"]),
            ],
            exception_handlers={HTTPException: _said, FedtrackError: _unable},
        )

    def _checked(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Return ``answer`` for requests that no browser and no stranger to the proxy has sent."""

        async def checked(request: Request) -> Response:
            if self._proxy and (request.client is None or request.client.host != self._proxy):
                raise HTTPException(403, f"requests come through the proxy at {self._proxy} only")
            if "origin" in request.headers:
                raise HTTPException(403, "a page in a browser may not call this")
            if self._hosts is not None and _host(request.headers.get("host", "")) not in self._hosts:
                raise HTTPException(421, "this collector has another name; see `fedtrack collect --server-name`")
            try:
                return await answer(request)
            except (HTTPException, FedtrackError):
                raise
            except ClientDisconnect:  # nobody hears the answer
                return PlainTextResponse("the message ended before its end\n", 400)
            except Exception as error:  # of any kind: the message is in the site's spool, and comes again
                log.exception("%s: not answered", request.url.path)
                return await _unable(request, error)

        return checked

    async def _health(self, request: Request) -> Response:
        if self._intakes.full:
            return PlainTextResponse(f"full: {self._intakes.full}\n", 507)
        return PlainTextResponse("ok\n")

    async def _metrics(self, request: Request) -> Response:
        if not self._token(request).reads:
            raise HTTPException(403, "this token is not for metrics; `fedtrack collect tokens add NAME --metrics`")
        text = await to_thread.run_sync(self._intakes.metrics, limiter=self._threads)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def _message(self, request: Request) -> Response:
        run, site = self._named(request)
        if self._intakes.full:
            raise HTTPException(507, self._intakes.full, {"retry-after": str(_FULL_RETRY_SECONDS)})
        async with self._bodies:
            data = await _body(request)
            answer = await to_thread.run_sync(self._intakes.handle, run, site, data, limiter=self._threads)
        if OVER_QUOTA.encode() in answer and (ack := decode_ack.decode(answer)).verdict == "busy":
            raise HTTPException(429, ack.reason, {"retry-after": str(ceil(ack.retry_after))})
        return Response(answer, media_type=CONTENT_TYPE, headers={SITE_HEADER: site})

    def _named(self, request: Request) -> tuple[str, str]:
        """Return the run and the site of a request: what its token says, and nothing that it claims."""
        token = self._token(request)
        try:
            run = checked_run(request.path_params["run"])
            claimed = request.path_params.get("site")
            site = token.site if claimed is None else checked_site(claimed)
        except ConfigError as error:
            raise HTTPException(404, str(error)) from None
        if not token.allows_run(run):
            raise HTTPException(403, f"the token of {token.site!r} is not for the run {run!r}")
        if token.is_pattern and claimed is None:
            raise HTTPException(403, f"the token is for the sites {token.site!r}; the address must name one of them")
        if not (token.is_pattern and token.allows_site(site)) and site != token.site:
            raise HTTPException(403, f"the token of {token.site!r} is not for the site {site!r}")
        return run, site

    def _token(self, request: Request) -> Token:
        kind, _, presented = request.headers.get("authorization", "").partition(" ")
        found = self._tokens.find(presented.strip()) if kind.lower() == "bearer" else None
        if found is None:
            self._note_refused(request)
            raise HTTPException(401, "the token is unknown, expired or revoked", {"www-authenticate": "Bearer"})
        return found

    def _note_refused(self, request: Request) -> None:
        """Log the first refusal of each address, so that a flood of them does not fill the log."""
        peer = request.client.host if request.client else "a Unix socket"
        if peer not in self._refused and len(self._refused) < 1000:
            self._refused.add(peer)
            log.warning("a token from %s is unknown, expired or revoked; further ones from there are not logged", peer)


async def _body(request: Request) -> bytes:
    """Return a request's body.

    Raises:
        HTTPException: It is too large, or came too slowly.
    """
    length = request.headers.get("content-length", "").lstrip("0")
    if length.isdecimal() and (len(length) > _MAX_DIGITS or int(length) > MAX_BODY):
        raise HTTPException(413, f"a message has at most {MAX_BODY} bytes", {"connection": "close"})
    parts: list[bytes] = []
    size = 0
    try:
        with anyio.fail_after(_BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY:
                    raise HTTPException(413, f"a message has at most {MAX_BODY} bytes", {"connection": "close"})
                parts.append(part)
    except TimeoutError:
        raise HTTPException(408, f"the message did not arrive within {_BODY_SECONDS:g} s") from None
    return b"".join(parts)


def _host(header: str) -> str:
    """Return the name in a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.rpartition(":")[0].lower() if header.count(":") == 1 else header.lower()


async def _said(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for that class
    return PlainTextResponse(f"{error.detail}\n", error.status_code, headers=error.headers)


async def _unable(request: Request, error: Exception) -> Response:
    """Say that the collector cannot answer now; what exactly is in its own log."""
    log.error("%s: %s", request.url.path, error)
    return PlainTextResponse("the collector cannot answer now; its log says why\n", 503, headers={"retry-after": "5"})
