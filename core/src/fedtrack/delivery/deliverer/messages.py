"""Messages between a deliverer and its supervisor, and the channel that carries them.

They are typed structures as msgpack, each after its length. Nothing in them names code to import but the registered
name of a receiver.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from fedtrack.delivery.suspect import Precautions
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.receiver import Receiver, RunInfo


class ReceiverSpec(msgspec.Struct):
    """A receiver that a deliverer builds.

    Attributes:
        id: The component's id.
        name: Its registered name.
        args: Its arguments; the deliverer resolves ``${ENV:NAME}`` in them.
        place: Its place on the call page.
        precautions: How to feed it, if it has ended its process before.
    """

    id: str
    name: str
    args: dict[str, Any]
    place: int = 0
    precautions: Precautions = Precautions()


class RunFacts(msgspec.Struct):
    """The fields of ``RunInfo``, with paths as strings."""

    run_id: str
    job_name: str
    folder: str
    node: str
    sites: list[str]
    started_ns: int
    blobs: str

    def run(self) -> RunInfo:
        """Return the run for receivers."""
        return RunInfo(
            self.run_id,
            self.job_name,
            Path(self.folder),
            self.node,
            tuple(self.sites),
            self.started_ns,
            BlobStore(Path(self.blobs)),
        )


class Prepare(msgspec.Struct, tag=True):
    """To the deliverer: import what these receivers need; their run begins soon.

    Attributes:
        receivers: The receivers.
        path: The module search path of the supervisor's process.
        level: The lowest level of the log messages to send.
    """

    receivers: list[ReceiverSpec]
    path: list[str]
    level: int


class Serve(msgspec.Struct, tag=True):
    """To the deliverer: open the journal and feed these receivers.

    Attributes:
        run: The run.
        journal: The journal; its ledger is beside it.
        receivers: The receivers.
        path: See ``Prepare``.
        level: See ``Prepare``.
        status: The status of a run whose journal is complete; "" while it is not.
    """

    run: RunFacts
    journal: str
    receivers: list[ReceiverSpec]
    path: list[str]
    level: int
    status: str = ""


class Wake(msgspec.Struct, tag=True):
    """To the deliverer: there are new events in the journal."""


class Drain(msgspec.Struct, tag=True):
    """To the deliverer: the journal is complete; deliver the rest and close the receivers with ``status``."""

    status: str


class Abandon(msgspec.Struct, tag=True):
    """To the deliverer: nobody waits for this receiver any longer; close it."""

    id: str


class Pause(msgspec.Struct, tag=True):
    """To the deliverer: close this receiver in order; a later process goes on with it."""

    id: str


class Hurry(msgspec.Struct, tag=True):
    """To the deliverer: repeat what has failed now, and do not wait any longer."""


class Said(msgspec.Struct, tag=True):
    """From the deliverer: the state of one receiver; see ``ReceiverTally``.

    Attributes:
        id: The component's id.
        error: The last error that is still unresolved, or "".
        location: Where the records are.
        command: The command that shows them.
        outage: The last error of an outage that is over.
        outage_seconds: The length of all outages that are over.
        over: Whether the receiver is closed and nothing more is delivered.
    """

    id: str
    error: str = ""
    location: str = ""
    command: str = ""
    outage: str = ""
    outage_seconds: float = 0.0
    over: bool = False


class Logged(msgspec.Struct, tag=True):
    """From the deliverer: a log message.

    Attributes:
        level: Its level.
        name: The name of its logger.
        text: The message.
        traceback: The traceback that the supervisor's log shows, or "".
        kept: Whether the message should name the deliverer's log file, which has the traceback, too.
    """

    level: int
    name: str
    text: str
    traceback: str = ""
    kept: bool = False


Message: TypeAlias = Prepare | Serve | Wake | Drain | Abandon | Pause | Hurry | Said | Logged

_LENGTH = 4
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Channel:
    """One end of the connection; any thread may send, one thread receives.

    Attributes:
        descriptors: The descriptors that came with the messages.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()
        self._received = bytearray()
        self.descriptors: list[int] = []

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send a message, and a descriptor with it; it is dropped if the other end is gone."""
        frame = _frame(message)
        with self._sending, contextlib.suppress(OSError):
            sent = 0 if descriptor is None else socket.send_fds(self._socket, [frame], [descriptor])
            self._socket.sendall(frame[sent:])

    def wake(self) -> None:
        """Send ``Wake``, unless the other end has messages that it has not read for long."""
        frame = _frame(Wake())
        with self._sending, contextlib.suppress(OSError):
            sent = self._socket.send(frame, socket.MSG_DONTWAIT)
            if sent < len(frame):  # the rest belongs to this frame, so it must follow
                self._socket.sendall(frame[sent:])

    def receive(self) -> list[Message]:
        """Wait for bytes and return the messages that are complete.

        Raises:
            EOFError: The other end is gone.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, 1)
        except OSError:
            data, descriptors = b"", []
        self.descriptors += descriptors
        if not data:
            raise EOFError
        self._received += data
        return list(self._complete())

    def _complete(self) -> list[Message]:
        found: list[Message] = []
        while len(self._received) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._received[:_LENGTH], "big")
            if len(self._received) < end:
                break
            found.append(_DECODER.decode(bytes(self._received[_LENGTH:end])))
            del self._received[:end]
        return found

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _frame(message: Message) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(_LENGTH, "big") + data


def facts_of(run: RunInfo) -> RunFacts:
    """Return the run as a message."""
    folder, blobs = str(run.folder.absolute()), str(run.blobs.folder.absolute())
    return RunFacts(run.run_id, run.job_name, folder, run.node, list(run.sites), run.started_ns, blobs)


def spec_of(id_: str, receiver: Receiver) -> ReceiverSpec:
    """Return a receiver as a message: its arguments as the job has them, with references instead of secrets."""
    args = receiver.arguments_as_written
    return ReceiverSpec(id_, receiver.name, dict(msgspec.to_builtins(receiver.options) if args is None else args))
