"""Protocol: the reference state machine of docs/reliability.md, which reads the messages of a simulation.

The names of the rules are those of the page. A rule that is broken is noted, and ends the simulation after the step:
an exception inside the code under test could be caught there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

Stream: TypeAlias = tuple[str, str]
Event: TypeAlias = tuple[str, str, int]

_FRAME = struct.Struct("<2sIIQ")


def frames_of(body: bytes) -> Iterator[tuple[int, list[Any]]]:
    """Yield (number, fields) of the frames of a batch or a segment, up to the first bytes that are no frame."""
    position = 0
    while position + _FRAME.size <= len(body):
        magic, length, _, seq = _FRAME.unpack_from(body, position)
        start = position + _FRAME.size
        if magic != b"\xf5\xd7" or start + length > len(body):
            return
        yield seq, msgspec.msgpack.decode(body[start : start + length])
        position = start + length


class Trace:
    """The messages of one simulation and the state that they imply.

    Attributes:
        broken: The rules that were broken, with what broke them.
    """

    def __init__(self) -> None:
        self.broken: list[str] = []
        self._marks: dict[Stream, int] = {}
        self._last: dict[tuple[str, str, str], int] = {}
        self._buffered: dict[str, list[Event]] = {}

    def started(self, marks: Mapping[Stream, int]) -> None:
        """A server starts, and its journal has these marks."""
        for stream, mark in self._marks.items():
            if marks.get(stream, 0) < mark:
                self._break("J1", f"the mark of {stream} was {mark}, and is {marks.get(stream, 0)} after a restart")
        self._marks = dict(marks)

    def wiped(self) -> None:
        """The journal was removed."""
        self._marks = {}
        self._last = {}

    def committed(self, marks: Mapping[Stream, int]) -> None:
        """A commit has returned."""
        for stream, mark in marks.items():
            if mark < self._marks.get(stream, 0):
                self._break("J1", f"the mark of {stream} went from {self._marks[stream]} to {mark}")
            self._marks[stream] = mark

    def acknowledged(self, site: str, stream: str, upto: int) -> None:
        """The intake has answered that the journal has a stream up to a number."""
        if upto > self._marks.get((site, stream), 0):
            self._break("J2", f"{upto} of {site} was acknowledged, committed is {self._marks.get((site, stream), 0)}")

    def removed(self, site: str, stream: str, body: bytes) -> None:
        """A segment was removed from a spool."""
        last = max((seq for seq, _ in frames_of(body)), default=0)
        if last > self._marks.get((site, stream), 0):
            self._break(
                "S3", f"a segment of {site} up to {last} was removed, committed is {self._marks.get((site, stream), 0)}"
            )

    def spooled(self, site: str, size: int, limit: int) -> None:
        """The segments of a stream have this many bytes."""
        if size > limit:
            self._break("S4", f"the segments of a stream of {site} have {size} bytes, the limit is {limit}")

    def connected(self, receiver: str) -> None:
        """A receiver starts: what it had not flushed is gone."""
        self._buffered[receiver] = []
        self._last = {key: last for key, last in self._last.items() if key[0] != receiver}

    def received(self, receiver: str, events: Iterable[Event]) -> None:
        """A receiver has taken events."""
        for site, stream, seq in events:
            key = (receiver, site, stream)
            if seq <= self._last.get(key, 0):
                self._break("D1", f"{receiver} got {seq} of {site} after {self._last[key]}")
            self._last[key] = seq
            self._buffered.setdefault(receiver, []).append((site, stream, seq))

    def flushed(self, receiver: str) -> None:
        """What a receiver has taken is safe in its backend."""
        self._buffered[receiver] = []

    def advanced(self, receiver: str) -> None:
        """The cursor of a receiver has moved."""
        if self._buffered.get(receiver):
            self._break("D2", f"the cursor of {receiver} passed {self._buffered[receiver]} before the flush")

    def _break(self, rule: str, what: str) -> None:
        self.broken.append(f"{rule}: {what}")
