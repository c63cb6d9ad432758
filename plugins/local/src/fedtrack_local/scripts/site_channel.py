"""SiteChannel: a process's connection to the server, which is made when it is first needed."""

from __future__ import annotations

import os
import select
import socket

import msgspec

from fedtrack.errors import ConfigError
from fedtrack_local.processes.handshake import dial
from fedtrack_local.processes.joining import Join, Joined, Taken
from fedtrack_local.processes.messages import SiteSpec, decode_to_site, encode
from fedtrack_local.processes.parcels import Incoming, Parcel, send
from fedtrack_local.scripts.ranks import world_size

#: The server is trusted with the length of its messages.
_MOST_BYTES = 2**31 - 1


class SiteChannel:
    """One process's connection; a child that it forks makes one of its own.

    A script may close all descriptors, and open a file that gets the number of this one. So each use makes sure that
    the descriptor is still the socket that was opened here.

    Args:
        spec: The site.
        inherited: The descriptor of a connection that the server has made; None if there is none.
    """

    def __init__(self, spec: SiteSpec, inherited: int | None = None) -> None:
        self._spec = spec
        self._socket: socket.socket | None = None
        self._identity: tuple[int, int] | None = None
        self._owner = os.getpid()
        self._joined = False
        self._incoming = Incoming()
        if inherited is not None:
            self._adopt(socket.socket(fileno=inherited))

    @property
    def is_open(self) -> bool:
        """Whether this process has a connection."""
        return self._mine() is not None

    @property
    def is_joined(self) -> bool:
        """Whether this process takes part in the tasks."""
        return self._mine() is not None and self._joined

    def join(self, rank: int) -> bool:
        """Take part in the tasks with this rank; return False if this process did before.

        Raises:
            ConnectionError: The server is gone.
            ConfigError: Another process of the site has the tasks.
        """
        if self.is_joined:
            return False
        if self._mine() is None:
            self._adopt(dial(self._spec.address, self._spec.secret))
        self.post(Join(os.getpid(), rank, world_size()))
        answer = decode_to_site.decode(self.recv_bytes())
        if isinstance(answer, Taken):
            self.close()
            raise ConfigError(
                f"{self._spec.name}: the process {answer.pid} gets the tasks of this site, so this one ({os.getpid()}) "
                "can only log; receive and send in that process, or give each process of a distributed training its "
                "rank: init(rank=...)."
            )
        if not isinstance(answer, Joined):
            raise ConnectionError(f"the server answered with a {type(answer).__name__}")
        self._joined = True
        return True

    def post(self, message: msgspec.Struct) -> None:
        """Send a message.

        Raises:
            ConnectionError: There is no connection.
            TypeError: The message has a value that cannot be sent.
        """
        self.send_bytes(encode(message))

    def send_bytes(self, data: bytes, file: int | None = None) -> None:
        """Send an encoded message, and the file of a descriptor with it.

        Raises:
            ConnectionError: There is no connection.
        """
        send(self._usable(), data, file)

    def recv_bytes(self) -> bytes:
        """Return the next message without its file; see ``receive``."""
        parcel = self.receive()
        parcel.drop()
        return parcel.data

    def receive(self) -> Parcel:
        """Return the next message.

        Raises:
            ConnectionError: There is no connection, or it ends.
        """
        try:
            parcel = self._incoming.take(self._usable(), _MOST_BYTES)
        except EOFError:
            raise ConnectionError("the server has closed the connection") from None
        assert parcel is not None  # noqa: S101 - narrows the type; it has waited
        return parcel

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Return whether there is a message, or the connection has ended, after waiting for ``timeout`` seconds."""
        waiting = select.poll()  # select() refuses descriptors from 1024 on
        waiting.register(self._usable(), select.POLLIN)
        return bool(waiting.poll(None if timeout is None else max(0.0, timeout * 1000)))

    def fileno(self) -> int:
        """Return the number of the descriptor."""
        return self._usable().fileno()

    def _adopt(self, connection: socket.socket) -> None:
        self._socket, self._identity, self._owner = connection, identity_of(connection.fileno()), os.getpid()
        self._incoming, self._joined = Incoming(), False

    def _usable(self) -> socket.socket:
        found = self._mine()
        if found is None:
            raise ConnectionError("the connection to the server is closed")
        return found

    def _mine(self) -> socket.socket | None:
        """Return the socket; None if it does not belong to this process, or is no longer open."""
        if self._socket is None:
            return None
        if identity_of(self._socket.fileno()) != self._identity:
            self._socket.detach()  # not closed: its number belongs to somebody else by now
            self._socket, self._joined = None, False
        elif self._owner != os.getpid():
            self.close()  # the parent's; its own is not affected
        return self._socket

    def close(self) -> None:
        """Close the connection; a later ``join`` makes a new one."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._joined = None, False


def identity_of(descriptor: int) -> tuple[int, int] | None:
    """Return device and inode of an open file; None if the descriptor is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
