"""Calls: which call of each receiver is in flight, on a page that survives the process that makes the calls.

The page is memory without a name, shared with the process that watches. A process that dies in a call cannot say so;
its page does.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from enum import IntEnum
from time import monotonic_ns
from typing import NamedTuple


class Call(IntEnum):
    """A method of a receiver."""

    NONE = 0
    PREPARE = 1
    BUILD = 2
    OPEN = 3
    RECEIVE = 4
    FLUSH = 5
    RESULTS = 6
    CLOSE = 7

    @property
    def method(self) -> str:
        """The name of the method, for people."""
        return "__init__" if self is Call.BUILD else self.name.lower()


class CallState(NamedTuple):
    """The state of one receiver's calls.

    Attributes:
        call: The call in flight; ``Call.NONE`` between calls.
        started_ns: When it began, nanoseconds of the monotonic clock.
        batch: The id of the batch of its first event in the journal, for ``receive``.
        seq: The sequence number of its first event, for ``receive``.
        events: How many events it has, for ``receive``.
        moves: How often there was progress.
        accepted: How many events ``receive`` has taken.
        tried: Whether ``open`` has returned or raised once.
    """

    call: int = Call.NONE
    started_ns: int = 0
    batch: int = 0
    seq: int = 0
    events: int = 0
    moves: int = 0
    accepted: int = 0
    tried: int = 0


_STATE = struct.Struct("<8Q")


class CallPage:
    """The states of the calls of one process, and its sign of life.

    A state is written by one system call, so that death leaves the old state or the new one.

    Args:
        descriptor: The page's memory; the page closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls, places: int) -> CallPage:
        """Return an empty page with room for that many receivers."""
        size = _STATE.size * (places + 1)
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("fedtrack-calls", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.pwrite(descriptor, bytes(size), 0)  # now, so that a full disk is met here and not in a call
        return cls(descriptor)

    @property
    def places(self) -> int:
        """For how many receivers there is room."""
        return os.fstat(self.descriptor).st_size // _STATE.size - 1

    def beat(self) -> None:
        """Leave a sign of life."""
        os.pwrite(self.descriptor, struct.pack("<Q", monotonic_ns()), 0)

    def last_beat_ns(self) -> int:
        """Return when the last sign of life was left, nanoseconds of the monotonic clock; 0 if there is none."""
        return int(struct.unpack("<Q", os.pread(self.descriptor, 8, 0))[0])

    def write(self, place: int, state: CallState) -> None:
        """Store the state of the receiver at ``place``, counted from 0."""
        os.pwrite(self.descriptor, _STATE.pack(*state), _STATE.size * (place + 1))

    def read(self, place: int) -> CallState:
        """Return the state of the receiver at ``place``."""
        return CallState(*_STATE.unpack(os.pread(self.descriptor, _STATE.size, _STATE.size * (place + 1))))

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.descriptor)


class CallRecorder:
    """Records the calls of one receiver.

    Args:
        write: Stores a new state.

    Attributes:
        state: The current state.
    """

    def __init__(self, write: Callable[[CallState], None] = lambda state: None) -> None:
        self.state = CallState()
        self._write = write

    @contextlib.contextmanager
    def during(self, call: Call, *, batch: int = 0, seq: int = 0, events: int = 0) -> Iterator[None]:
        """Record that a call is in flight, until the block ends."""
        self._set(call=call, started_ns=monotonic_ns(), batch=batch, seq=seq, events=events)
        try:
            yield
        finally:
            self._set(call=Call.NONE)

    def moved(self, *, accepted: int = 0, tried: bool = False) -> None:
        """Record progress: how many more events were taken, and whether ``open`` has returned or raised."""
        old = self.state
        self._set(moves=old.moves + 1, accepted=old.accepted + accepted, tried=old.tried or tried)

    def _set(self, **changes: int) -> None:
        self.state = self.state._replace(**changes)
        self._write(self.state)
