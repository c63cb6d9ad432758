"""Serve: the HTTP server of ``fedtrack ui``, on this machine or, with a token, beyond it."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn

from fedtrack.errors import WorkspaceError
from fedtrack_ui.app import PageApp
from fedtrack_ui.guard import LOOPBACK, Guard

#: The first port that is tried; any free one if it is taken.
PORT = 8765
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class PageServer:
    """The page's server.

    Args:
        folder: A workspace, a collector's folder, or a folder with workspaces.
        host: The address to bind.
        port: The port; 0 for any free one, None for the usual one or any free one.
        token: The token for readers beyond this machine; made if the address is reachable from elsewhere.

    Attributes:
        token: The token; "" on a loopback address.

    Raises:
        WorkspaceError: The address cannot be bound.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int | None = None, token: str = "") -> None:
        self._host = host
        self.token = token or ("" if host in LOOPBACK else secrets.token_urlsafe(24))
        self._page = PageApp(folder)
        self._socket = _bound(host, port)
        config = uvicorn.Config(
            Guard(self._page.asgi(), self.token),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
            limit_concurrency=256,
            proxy_headers=False,
        )
        self._server = _Server(config, self._page)

    @property
    def url(self) -> str:
        """The address to open, with the token."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        shown = f"http://{host}:{self._socket.getsockname()[1]}/"
        return f"{shown}?token={self.token}" if self.token else shown

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGINT or SIGTERM.

        Args:
            ready: Called when the page can be opened.
        """
        self._server.ready = ready
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.close()

    def close(self) -> None:
        """Free the address, and stop following runs."""
        self._page.close()
        self._socket.close()

    def stop(self) -> None:
        """Let ``run`` return; called by another thread."""
        self._server.end()


class _Server(uvicorn.Server):
    ready: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, config: uvicorn.Config, page: PageApp) -> None:
        super().__init__(config)
        self._page = page

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    def end(self) -> None:
        """Stop serving; what waits for news is told first."""
        self._page.stop_waiting()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal; uvicorn's own would then let the signal end the process as well."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.end()


def _bound(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for tried in (PORT, 0) if port is None else (port,):
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, tried))
            found.listen(128)  # here, so that a port that another server has is noticed
        except OSError as error:
            found.close()
            reason = error.strerror or str(error)
        else:
            return found
    raise WorkspaceError(f"The page cannot listen at {host}:{port or 0}: {reason}; choose another --host or --port.")
