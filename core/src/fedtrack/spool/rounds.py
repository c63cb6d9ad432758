"""Rounds: the round of each record of a stream, from the headers and marks of its segments.

A segment's header has the round of its first record, and a mark shows where another round begins. A damaged piece of a
segment may have had a mark, so the round is unknown behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange, Header
from fedtrack.spool.hosted import unwrap
from fedtrack.tracking.records import RoundMark, decode, number_of

_MARK_KIND = 32
_MAY_HOLD_MARK = frames.kinds_pattern((_MARK_KIND,))


class Rounds(Protocol):
    """The interface that a reader calls with the parts of a stream, in the order of its files."""

    def begin(self, header: Header | None) -> None:
        """Begin a segment; None means that its header is damaged."""

    def lose(self) -> None:
        """Continue behind bytes that are not a frame."""

    def split(self, run: FrameRange) -> Iterator[FrameRange]:
        """Yield the frames of ``run`` in ranges of one round."""

    def pass_over(self, run: FrameRange) -> None:
        """Continue behind frames that are known already."""


class StreamRounds:
    """The rounds of a stream that one site writes.

    Attributes:
        round: The round of the next frame; None if it is unknown, or outside rounds.
    """

    def __init__(self) -> None:
        self.round: int | None = None

    def begin(self, header: Header | None) -> None:
        """Take the round from a segment's header."""
        self.round = None if header is None else header.round

    def lose(self) -> None:
        """Forget the round."""
        self.round = None

    def split(self, run: FrameRange) -> Iterator[FrameRange]:
        """Yield the frames of ``run`` in ranges of one round; a mark is the first frame of its range."""
        if run.plain or not _MAY_HOLD_MARK.search(run.body):
            yield FrameRange(run.first, run.last, run.count, run.body, self.round, run.plain)
            return
        start = count = position = 0
        first = last = run.first
        for seq, payload in frames.split(run.body):
            mark = round_mark(payload)
            if mark is not None and mark.round != self.round:
                if count:
                    yield FrameRange(first, last, count, run.body[start:position], self.round)
                start, first, count = position, seq, 0
                self.round = mark.round
            last, count = seq, count + 1
            position += frames.FRAME_SIZE + len(payload)
        yield FrameRange(first, last, count, run.body[start:position], self.round)

    def pass_over(self, run: FrameRange) -> None:
        """Look for marks among frames that are known already."""
        for _ in self.split(run):
            pass


class SiteRounds:
    """The rounds of the sites that share a stream; each segment has marks for all of them."""

    def __init__(self) -> None:
        self._rounds: dict[str, int | None] = {}

    def begin(self, header: Header | None) -> None:
        """Forget the rounds."""
        self._rounds.clear()

    def lose(self) -> None:
        """Forget the rounds."""
        self._rounds.clear()

    def split(self, run: FrameRange) -> Iterator[FrameRange]:
        """Yield ``run`` unchanged: the source separates its sites, and asks ``of`` for each frame in turn."""
        yield run

    def pass_over(self, run: FrameRange) -> None:
        """Look for marks among frames that are known already."""
        for _, payload in frames.split(run.body):
            hosted = unwrap(payload)
            if hosted is not None:
                self.of(*hosted)

    def of(self, site: str, payload: memoryview) -> int | None:
        """Return the round of a site's frame, and remember it if the frame is a mark."""
        mark = round_mark(payload)
        if mark is not None:
            self._rounds[site] = mark.round
        return self._rounds.get(site)


def round_mark(payload: memoryview) -> RoundMark | None:
    """Return a payload's mark; None if the payload is not a mark."""
    if number_of(payload) != _MARK_KIND:
        return None
    record = decode(payload)
    return record if isinstance(record, RoundMark) else RoundMark(0)  # its content is not that of a mark: unknown
