"""SpoolReader: reads one stream's segments while its process may still be appending to them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import NamedTuple

from fedtrack.spool import frames
from fedtrack.spool.rounds import Rounds, StreamRounds
from fedtrack.spool.segments import Segment, is_open


class DamagedBytes(NamedTuple):
    """Bytes of a segment that are not a record.

    Attributes:
        path: The segment.
        start: Offset of the first byte.
        size: The number of bytes.
        torn: Whether the bytes are the beginning of a frame, at the end of a stream whose process died. SIGKILL has
            cut that write, and its log call had not returned. All other bytes are damage to the file.
    """

    path: Path
    start: int
    size: int
    torn: bool


class SpoolReader:
    """Reads one stream from a given sequence number on.

    Args:
        stream: The stream's id.
        after_seq: The highest sequence number that is already known.
        read_bytes: The most bytes to read from a file at once.
        pass_bytes: A call of ``read`` ends after about as many bytes, so that no stream makes others wait.
        rounds: Finds the rounds of frames; None means those of a stream of one site.
    """

    def __init__(
        self,
        stream: str,
        after_seq: int = 0,
        read_bytes: int = 1024 * 1024,
        pass_bytes: int = 8 * 1024 * 1024,
        rounds: Rounds | None = None,
    ) -> None:
        self.stream = stream
        self.after_seq = after_seq
        self._salt = frames.salt_of(stream)
        self._read_bytes = max(read_bytes, frames.HEADER_SIZE)
        self._pass_bytes = pass_bytes
        self._current: Path | None = None
        self._offset = 0
        self._previous = 0
        self._finished: set[Path] = set()
        self._rounds = StreamRounds() if rounds is None else rounds

    def read(self, segments: list[Segment], *, ended: bool) -> Iterator[frames.FrameRange | DamagedBytes]:
        """Yield new records, in ranges of one round, and damage. A yielded record counts as known.

        Args:
            segments: The stream's segments, listed just before.
            ended: Whether the stream's process should be gone; a segment that is still open is nevertheless live.
        """
        self._finished &= {segment.path for segment in segments}
        budget = self._pass_bytes
        for segment, following in zip_longest(segments, segments[1:]):
            if segment.path in self._finished:
                continue
            if following and following.first_seq <= self.after_seq + 1 and segment.path != self._current:
                self._finished.add(segment.path)
                continue
            final = following is not None or (ended and not is_open(segment.path))
            budget = yield from self._read_segment(segment, budget, final=final, newest=following is None)
            if budget <= 0:
                return
            if following:
                self._finished.add(segment.path)

    def deletable(self, segments: list[Segment], *, ended: bool, up_to: int | None = None) -> list[Path]:
        """Return the segments whose every record is known, and to which nothing can be appended.

        Args:
            segments: The stream's segments.
            ended: Whether the stream's process is gone.
            up_to: The highest sequence number that another reader of this spool knows, if there is one.
        """
        known = self.after_seq if up_to is None else min(self.after_seq, up_to)
        done = [
            segment.path
            for segment, following in pairwise(segments)
            if segment.path in self._finished and following.first_seq <= known + 1
        ]
        if ended and segments and known >= self.after_seq:
            last = segments[-1].path
            # In this order: once it is closed, its size is final.
            if last == self._current and not is_open(last) and self._offset >= last.stat().st_size:
                done.append(last)
        return done

    def _read_segment(
        self, segment: Segment, budget: int, *, final: bool, newest: bool
    ) -> Generator[frames.FrameRange | DamagedBytes, None, int]:
        """Yield the new parts of one file; return the rest of the budget, 0 if the end was not reached."""
        path = segment.path
        if path != self._current:
            self._current, self._offset, self._previous = path, 0, segment.first_seq - 1
        elif not self._has_grown(path):
            return budget
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return budget  # delivered and deleted by the other reader of this spool
        with file:
            if self._offset == 0 and not self._skip_header(file.read(frames.MAX_HEADER_SIZE), final=final):
                return budget
            wanted = self._read_bytes
            while budget > 0:
                file.seek(self._offset)
                data = file.read(wanted)
                at_end = len(data) < wanted
                # Known frames are scanned too: there may be marks of a round among them.
                found = frames.scan(data, self._salt, previous=self._previous, after_seq=0, final=final and at_end)
                offset = self._offset
                self._offset, self._previous = offset + found.consumed, found.last
                for part in found.parts:
                    if isinstance(part, frames.FrameRange):
                        yield from self._new(part)
                    else:
                        self._rounds.lose()
                        torn = newest and part.end == len(data) and frames.is_cut_short(data[part.start :])
                        yield DamagedBytes(path, offset + part.start, part.end - part.start, torn)
                if at_end:
                    return budget
                budget -= found.consumed
                # A frame larger than what was read, or a long search: look at more of the file at once.
                wanted = self._read_bytes if found.consumed else wanted * 2
        return 0

    def _new(self, run: frames.FrameRange) -> Iterator[frames.FrameRange]:
        """Yield the unknown frames of ``run``, in ranges of one round."""
        if run.first <= self.after_seq:
            known = run
            first, count, body = frames.tail(run.body, self.after_seq)
            if count:
                cut = len(run.body) - len(body)
                known = frames.FrameRange(run.first, self.after_seq, run.count - count, run.body[:cut], plain=run.plain)
            self._rounds.pass_over(known)
            if not count:
                return
            run = frames.FrameRange(first, run.last, count, body, plain=run.plain)
        for part in self._rounds.split(run):
            self.after_seq = part.last
            yield part

    def _has_grown(self, path: Path) -> bool:
        """Return whether the file has bytes that were not read yet; an idle poll opens no file."""
        try:
            return os.stat(path).st_size > self._offset  # noqa: PTH116 - Path.stat costs twice as much
        except FileNotFoundError:
            return False

    def _skip_header(self, head: bytes, *, final: bool) -> bool:
        header = frames.read_header(head)
        if header is None and len(head) < frames.HEADER_SIZE and not final:
            return False  # created, but its header is not written yet
        self._rounds.begin(header)
        self._offset = frames.frames_start(head)
        return True
