"""Listener: the server's socket for the processes of its sites, and the check of who connects."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
from dataclasses import dataclass, field
from time import monotonic

from fedtrack_local.processes.handshake import HELLO_BYTES, WELCOME, new_secret, peer_of, site_of
from fedtrack_local.processes.runtime_folder import RuntimeFolder

log = logging.getLogger(__name__)

#: Seconds that a process may take to show a secret after it has connected.
_HELLO_SECONDS = 10.0
#: The most connections that have not shown a secret; beyond that the oldest is closed.
_MOST_STRANGERS = 64


@dataclass(eq=False)
class _Stranger:
    """A connection that has not shown a secret yet.

    Attributes:
        connection: It never blocks.
        since: When it was accepted, by the monotonic clock.
        said: What was received so far.
    """

    connection: socket.socket
    since: float = field(default_factory=monotonic)
    said: bytes = b""


class Listener:
    """Accepts processes of this user that show the secret of a site.

    Args:
        selector: The selector of the server; a key whose data is this listener belongs to ``ready``.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._folder = RuntimeFolder()
        self._secrets: dict[str, str] = {}
        self._strangers: dict[int, _Stranger] = {}
        self._refused: set[str] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind(self.address)
            os.chmod(self.address, 0o600)  # noqa: PTH101 - the address is a text
            self._socket.listen(socket.SOMAXCONN)
        except BaseException:
            self.close()
            raise
        selector.register(self._socket, selectors.EVENT_READ, self)

    @property
    def address(self) -> str:
        """The path of the socket."""
        return self._folder.address

    def secret_of(self, site: str) -> str:
        """Return the secret of a site, which is a new one at the first call."""
        return self._secrets.setdefault(site, new_secret())

    def ready(self, key: selectors.SelectorKey) -> tuple[str, socket.socket] | None:
        """Go on with a connection that the selector has named; return it and its site once it has shown a secret."""
        if key.fileobj is self._socket:
            self._accept()
            return None
        stranger = self._strangers.get(key.fd)
        return None if stranger is None else self._hear(stranger)

    def forget_strangers(self) -> None:
        """Close the connections that have said nothing for too long."""
        for stranger in list(self._strangers.values()):
            if monotonic() - stranger.since > _HELLO_SECONDS:
                self._dismiss(stranger)

    def close(self) -> None:
        """Close the socket and remove its folder."""
        for stranger in list(self._strangers.values()):
            self._dismiss(stranger)
        with contextlib.suppress(KeyError, ValueError):  # the selector may be closed already
            self._selector.unregister(self._socket)
        self._socket.close()
        self._folder.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:  # it has gone again
            return
        try:
            user = peer_of(connection)
        except OSError as error:
            self._refuse(connection, f"a process whose user is not known ({error.strerror})")
            return
        if user != os.geteuid():
            self._refuse(connection, f"a process of the user {user}, and the run belongs to the user {os.geteuid()}")
            return
        connection.setblocking(False)
        if len(self._strangers) >= _MOST_STRANGERS:
            self._dismiss(next(iter(self._strangers.values())))
        self._strangers[connection.fileno()] = _Stranger(connection)
        self._selector.register(connection, selectors.EVENT_READ, self)

    def _hear(self, stranger: _Stranger) -> tuple[str, socket.socket] | None:
        try:
            received = stranger.connection.recv(HELLO_BYTES - len(stranger.said))
        except BlockingIOError:
            return None
        except OSError:
            received = b""
        stranger.said += received
        if received and len(stranger.said) < HELLO_BYTES:
            return None
        site = site_of(stranger.said, self._secrets)
        if site is None:
            if received:
                self._refuse(None, "a process that did not show the secret of a site")
            self._dismiss(stranger)
            return None
        self._release(stranger)
        stranger.connection.setblocking(True)
        try:
            stranger.connection.sendall(WELCOME)
        except OSError:
            stranger.connection.close()
            return None
        return site, stranger.connection

    def _refuse(self, connection: socket.socket | None, whom: str) -> None:
        if whom not in self._refused and len(self._refused) < 100:
            self._refused.add(whom)
            log.warning("the sites' socket refused %s", whom)
        if connection is not None:
            connection.close()

    def _dismiss(self, stranger: _Stranger) -> None:
        self._release(stranger)
        stranger.connection.close()

    def _release(self, stranger: _Stranger) -> None:
        del self._strangers[stranger.connection.fileno()]
        with contextlib.suppress(KeyError, ValueError):  # the selector may be closed already
            self._selector.unregister(stranger.connection)
