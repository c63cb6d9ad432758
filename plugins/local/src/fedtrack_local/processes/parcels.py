"""Parcels: messages of a Unix socket, each with a file if it needs one.

The kernel hands over an open file with the first byte of a message (``SCM_RIGHTS``, see unix(7)): not a name that
could lead to another file by the time it is opened.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from array import array
from time import monotonic
from typing import NamedTuple

#: The length of the message that follows, as ``multiprocessing.connection`` writes it.
LENGTH = struct.Struct("!i")

#: The most files that are taken out of the kernel at once; all but the first of a message are closed.
_MOST_FILES = 4
#: Received descriptors are not inherited by programs that are started at the same moment, where the kernel can do that.
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_PIECE = 64 * 1024


class Parcel(NamedTuple):
    """A message.

    Attributes:
        data: Its bytes.
        file: The descriptor of the file that came with it, which the receiver closes; None if there is none.
    """

    data: bytes
    file: int | None = None

    def drop(self) -> None:
        """Close the file."""
        if self.file is not None:
            os.close(self.file)


def send(peer: socket.socket, data: bytes, file: int | None = None) -> None:
    """Send a message, and a file with it.

    Raises:
        OSError: The connection has ended.
    """
    whole = LENGTH.pack(len(data)) + data
    sent = socket.send_fds(peer, [whole], [file]) if file is not None else 0
    peer.sendall(whole[sent:])


class Incoming:
    """The messages that arrive on a socket, in any number of pieces.

    Attributes:
        since: When the message that has arrived in part began, by the monotonic clock; None if there is none.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self._buffer = bytearray()
        self._length: int | None = None
        self._file: int | None = None

    def take(self, peer: socket.socket, most: int, *, wait: bool = True) -> Parcel | None:
        """Return the next message; None if ``wait`` is False and it has not arrived completely.

        Args:
            peer: The socket.
            most: The most bytes of a message.
            wait: Whether to wait for it.

        Raises:
            EOFError: The connection has ended.
            OSError: The connection is broken, or the message is longer.
        """
        while True:
            if self._length is None and len(self._buffer) == LENGTH.size:
                (self._length,) = LENGTH.unpack(self._buffer)
                self._buffer.clear()
                if not 0 <= self._length <= most:
                    raise OSError(f"a message of {self._length:,} bytes was announced; the most are {most:,}")
            wanted = (LENGTH.size if self._length is None else self._length) - len(self._buffer)
            if self._length is not None and not wanted:
                return self._complete()
            try:
                # Never more than this message: the kernel does not say to which byte a file belongs.
                flags = _CLOSE_ON_EXEC | (0 if wait else socket.MSG_DONTWAIT)
                data, attached, _, _ = peer.recvmsg(min(wanted, _PIECE), socket.CMSG_SPACE(_MOST_FILES * 4), flags)
            except BlockingIOError:
                if wait:
                    raise
                return None
            self._keep(_files_in(attached))
            if not data:
                raise EOFError("the other side has closed the connection")
            self.since = monotonic() if self.since is None else self.since
            self._buffer += data

    def close(self) -> None:
        """Forget what has arrived in part."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._length, self.since = None, None, None
        self._buffer.clear()

    def _complete(self) -> Parcel:
        parcel = Parcel(bytes(self._buffer), self._file)
        self._file = None
        self.close()
        return parcel

    def _keep(self, files: list[int]) -> None:
        for file in files:
            if self._file is None:
                self._file = file
                os.set_inheritable(file, False)
            else:
                os.close(file)


def _files_in(attached: list[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with data (``socket.recv_fds`` ignores its flags)."""
    files = array("i")
    for level, kind, data in attached:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(data[: len(data) - len(data) % files.itemsize])
    return files.tolist()


class ParcelConnection:
    """One end of a Unix socket.

    Args:
        peer: The socket; the connection closes it.
    """

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._incoming = Incoming()

    @staticmethod
    def pair() -> tuple[ParcelConnection, ParcelConnection]:
        """Return the two ends of a new connection."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return ParcelConnection(one), ParcelConnection(other)

    @property
    def closed(self) -> bool:
        """Whether this end is closed."""
        return self._peer.fileno() < 0

    def fileno(self) -> int:
        """Return the number of the socket's descriptor."""
        return self._peer.fileno()

    def send_bytes(self, data: bytes, file: int | None = None) -> None:
        """Send a message; see ``send``."""
        send(self._peer, data, file)

    def take(self, most: int, *, wait: bool = True) -> Parcel | None:
        """Return the next message; see ``Incoming.take``."""
        return self._incoming.take(self._peer, most, wait=wait)

    def recv_bytes(self, most: int = 2**31 - 1) -> bytes:
        """Return the next message without its file."""
        parcel = self.take(most)
        assert parcel is not None  # noqa: S101 - narrows the type; it has waited
        parcel.drop()
        return parcel.data

    def poll(self, timeout: float = 0.0) -> bool:
        """Return whether there is something to read, or the connection has ended, after ``timeout`` seconds."""
        waiting = select.poll()
        waiting.register(self._peer, select.POLLIN)
        return bool(waiting.poll(max(0.0, timeout * 1000)))

    def is_stalled(self, seconds: float) -> bool:
        """Return whether a message began this long ago, and is not complete."""
        since = self._incoming.since
        return since is not None and monotonic() - since > seconds

    def hang_up(self) -> None:
        """End the connection in both directions; who reads from it hears that."""
        with contextlib.suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end."""
        self._incoming.close()
        self._peer.close()
