"""Rounds: in which round the records of a stream were logged, as its headers and marks say.

A segment's header gives the round of its first record, and a mark where another one begins. What a damaged piece of a
segment said is not known, so that the round is unknown behind it: it may have held a mark.
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
    """What a reader tells of a stream, in the order of its files."""

    def begin(self, header: Header | None) -> None:
        """Begin a segment; its header is damaged, if None."""

    def lose(self) -> None:
        """Come behind bytes that are no frame."""

    def split(self, run: FrameRange) -> Iterator[FrameRange]:
        """Yield the frames of ``run`` in ranges of one round."""

    def pass_over(self, run: FrameRange) -> None:
        """Come behind frames that are known already."""


class StreamRounds:
    """The rounds of a stream that one site writes.

    Attributes:
        round: That of the next frame; None if it is unknown, or outside rounds.
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
        """Yield the frames of ``run`` in ranges of one round; a mark is the first frame of its own."""
        if not _MAY_HOLD_MARK.search(run.body):
            yield FrameRange(run.first, run.last, run.count, run.body, self.round)
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
    """The rounds of the sites that share a stream: a new segment says them again."""

    def __init__(self) -> None:
        self._rounds: dict[str, int | None] = {}

    def begin(self, header: Header | None) -> None:
        """Forget the rounds."""
        self._rounds.clear()

    def lose(self) -> None:
        """Forget the rounds."""
        self._rounds.clear()

    def split(self, run: FrameRange) -> Iterator[FrameRange]:
        """Yield ``run`` as it is: the source parts it by site, and asks ``of`` for each frame in turn."""
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
    """Return the mark that a payload is, if it is one."""
    if number_of(payload) != _MARK_KIND:
        return None
    record = decode(payload)
    return record if isinstance(record, RoundMark) else RoundMark(0)  # one of its kind that says nothing: unknown
