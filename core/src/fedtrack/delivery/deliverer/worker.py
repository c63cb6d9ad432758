"""Worker: a supervisor's handle on one process of a deliverer."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, monotonic_ns

import msgspec

from fedtrack.delivery.calls import CallPage, CallState
from fedtrack.delivery.deliverer.messages import (
    Abandon,
    Channel,
    Drain,
    Hurry,
    Message,
    Pause,
    Prepare,
    ReceiverSpec,
    RunFacts,
    Serve,
)
from fedtrack.delivery.deliverer.process import PREPARING
from fedtrack.delivery.deliverer.surroundings import SILENT_SECONDS

#: A process that starts on a busy machine gives its first sign of life late.
_STARTING_SECONDS = 60.0

#: The watchdog of the process comes first, because it can tell where the process was.
_WATCHDOG_SECONDS = 2.0

_LEAVE_SECONDS = 1.0

#: A page has at least this many places, so that receivers can be prepared before the run's are known.
_LEAST_PLACES = 32


class Worker:
    """A process that serves some receivers.

    Args:
        places: How many receivers it can serve.

    Attributes:
        channel: The connection.
        ids: The receivers that it serves.
    """

    def __init__(self, places: int) -> None:
        self.ids: list[str] = []
        self._page = CallPage.create(max(places, _LEAST_PLACES) + 1)
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._born = monotonic()
        descriptors = [theirs.fileno(), self._page.descriptor]
        with theirs:
            self._process = subprocess.Popen(
                # Without the current folder on the module search path; the messages have the right one.
                [sys.executable, "-P", "-m", "fedtrack.delivery.deliverer", *map(str, descriptors)],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                umask=0o077,
                start_new_session=True,  # the terminal's Ctrl-C goes to the server only
            )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def places(self) -> int:
        """For how many receivers there is room."""
        return self._page.places - 1

    def prepare(self, receivers: Sequence[ReceiverSpec]) -> None:
        """Let the process import what receivers need."""
        self.channel.send(Prepare(_placed(receivers), list(sys.path), _level()))

    def serve(self, run: RunFacts, journal: Path, receivers: Sequence[ReceiverSpec], status: str, lock: int) -> None:
        """Let the process feed receivers.

        Args:
            run: The run.
            journal: The journal.
            receivers: The receivers.
            status: The status of a run whose journal is complete, or "".
            lock: The descriptor of the ledger's lock, which is then held as long as the process lives.
        """
        self.ids = [spec.id for spec in receivers]
        order = Serve(run, str(journal.absolute()), _placed(receivers), list(sys.path), _level(), status)
        self.channel.send(order, lock)

    def drain(self, status: str) -> None:
        """Let the process deliver the rest and close the receivers."""
        self.channel.send(Drain(status))

    def abandon(self, id_: str) -> None:
        """Let the process close a receiver after the call in flight."""
        self.channel.send(Abandon(id_))

    def pause(self, id_: str) -> None:
        """Let the process close a receiver in order."""
        self.channel.send(Pause(id_))

    def hurry(self) -> None:
        """Let the process repeat now what has failed."""
        self.channel.send(Hurry())

    def receive(self) -> list[Message]:
        """Return messages of the process.

        Raises:
            EOFError: The process has ended.
        """
        return self.channel.receive()

    def calls(self, id_: str) -> CallState:
        """Return the state of a receiver's calls."""
        return self._page.read(self.ids.index(id_) + 1)

    def preparing(self) -> CallState:
        """Return the state of the thread that prepares receivers."""
        return self._page.read(PREPARING)

    def is_silent(self, more: float = _WATCHDOG_SECONDS) -> bool:
        """Return whether there was no sign of life for too long, with ``more`` seconds added to the limit."""
        beat = self._page.last_beat_ns()
        if not beat:
            return monotonic() - self._born > _STARTING_SECONDS
        return (monotonic_ns() - beat) / 1e9 > SILENT_SECONDS + more

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def reap(self) -> tuple[int, bool]:
        """Wait for the end of a process that has hung up; return its status, and whether it was silent before."""
        try:
            status = self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:  # a receiver has closed the connection
            self._process.kill()
            status = self._process.wait()
        return status, self.is_silent(more=-1.0)

    def close(self) -> None:
        """Hang up, and kill the process if it does not end then."""
        self.channel.close()
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._page.close()


def _placed(receivers: Sequence[ReceiverSpec]) -> list[ReceiverSpec]:
    return [msgspec.structs.replace(spec, place=place) for place, spec in enumerate(receivers, start=1)]


def _level() -> int:
    return logging.getLogger("fedtrack").getEffectiveLevel()
