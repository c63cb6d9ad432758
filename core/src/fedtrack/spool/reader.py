"""SpoolReader: reads one stream's segments while its process may still be appending to them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import BinaryIO

from fedtrack.files import NotPlainError, open_plain
from fedtrack.spool import damaged_bytes, frames
from fedtrack.spool.counter_page import Extent
from fedtrack.spool.damaged_bytes import DamagedBytes
from fedtrack.spool.rounds import Rounds, StreamRounds
from fedtrack.spool.segments import Segment, is_open, link_of, segment_name

#: The most bytes of a segment that are read. A spool writes at most 4 MiB, and so not one that is longer.
MAX_SEGMENT = 64 * 1024 * 1024
#: The longest frame: no more bytes can wait for their rest.
_LONGEST = frames.FRAME_SIZE + frames.MAX_PAYLOAD


class SpoolReader:
    """Reads one stream from a given sequence number on.

    Args:
        stream: The stream's id.
        after_seq: The highest sequence number that is already known.
        read_bytes: The most bytes to read from a file at once.
        pass_bytes: A call of ``read`` ends after about as many bytes, so that no stream makes others wait.
        rounds: Finds the rounds of frames; None means those of a stream of one site.

    Attributes:
        after_seq: The highest sequence number that is known.
        began_after: The highest one that was known at first.
        damaged: The segments with damage; they are evidence.
        pass_bytes: See above; it may be changed between two calls.
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
        self.after_seq = self.began_after = after_seq
        self.damaged: set[Path] = set()
        self._salt = frames.salt_of(stream)
        self._read_bytes = max(read_bytes, frames.HEADER_SIZE)
        self.pass_bytes = pass_bytes
        self._current: Path | None = None
        self._offset = 0
        self._inode = 0
        self._start = 0
        self._previous = 0
        self._known = 0
        self._finished: set[Path] = set()
        self._checked: set[Path] = set()
        #: The segments that are not read, or not read further: no files of this process, or too long.
        self._refused: set[Path] = set()
        self._rounds = StreamRounds() if rounds is None else rounds

    def read(
        self, segments: list[Segment], *, ended: bool, extent: Extent | None = None
    ) -> Iterator[frames.FrameRange | DamagedBytes]:
        """Yield new records, in ranges of one round, and damage. A yielded record counts as known.

        Args:
            segments: The stream's segments, listed just before.
            ended: Whether the stream's process should be gone; a segment that is still open is nevertheless live.
            extent: The stream's extent, from its page, if the process is gone; a stream that lacks a part of it was
                damaged.
        """
        for part in self._read(segments, ended=ended, extent=extent):
            if isinstance(part, DamagedBytes) and not part.torn:
                self.damaged.add(part.path)
            yield part

    def _read(
        self, segments: list[Segment], *, ended: bool, extent: Extent | None
    ) -> Iterator[frames.FrameRange | DamagedBytes]:
        self._finished &= {segment.path for segment in segments}
        budget = self.pass_bytes
        before: Segment | None = None
        for segment, following in zip_longest(segments, segments[1:]):
            previous, before = before, segment
            if segment.path in self._finished:
                continue
            if following and following.first_seq <= self.after_seq + 1 and segment.path != self._current:
                self._finished.add(segment.path)
                continue
            final = following is not None or (ended and not is_open(segment.path))
            newest = following is None
            if segment.path != self._current:
                yield from self._check_link(segment, previous)
            closed = extent is not None and newest and extent.first == segment.first_seq and extent.size > 0
            budget = yield from self._read_segment(segment, following, budget, final=final, whole=closed or not newest)
            if final and not closed and self._offset == 0:
                yield from self._check_empty(segment, following, extent)
            if budget > 0 and final and newest:
                yield from self._check_end(segment, extent)
            if budget <= 0:
                return
            if following:
                self._finished.add(segment.path)

    def lost(self, damage: DamagedBytes) -> int | None:
        """Return 0 if no record was lost with the damage, and None if that is not known.

        The journal may have had the records when the bytes were damaged.
        """
        return 0 if damage.last is not None and damage.last <= max(self.began_after, damage.first - 1) else None

    def at_end(self, segments: list[Segment]) -> bool:
        """Return whether the newest segment has been read to its end, and nothing can be appended to it."""
        last = segments[-1].path
        # In this order: once it is closed, its size is final.
        return last == self._current and not is_open(last) and 0 <= self._size_of(last) <= self._offset

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
        if ended and segments and known >= self.after_seq and self.at_end(segments):
            done.append(segments[-1].path)
        return done

    def _read_segment(
        self, segment: Segment, successor: Segment | None, budget: int, *, final: bool, whole: bool
    ) -> Generator[frames.FrameRange | DamagedBytes, None, int]:
        """Yield the new parts of one file; return the rest of the budget, 0 if the end was not reached.

        ``whole`` tells that its process has ended the file in order, so that no frame at its end can be torn.
        """
        path, most = segment.path, None if successor is None else successor.first_seq - 1
        if path != self._current:
            self._begin(segment)
        else:
            size = self._size_of(path)
            if size < self._offset:
                # Of a header alone nothing is lost: a log call that was interrupted here begins its segment again.
                if self._offset > self._start:
                    yield damaged_bytes.cut(path, max(size, 0), self._offset - max(size, 0), self.after_seq + 1, None)
                self._begin(segment)
            elif size == self._offset:
                return budget
        try:
            file = open_plain(path)
        except FileNotFoundError:
            return budget  # delivered and deleted by the other reader of this spool
        except NotPlainError as error:
            self._refused.add(path)
            yield damaged_bytes.no_file(path, str(error.strerror), self.after_seq + 1, most)
            return budget
        with file:
            status = os.fstat(file.fileno())
            self._inode = status.st_ino
            if self._offset == 0 and not self._skip_header(file, segment, final=final):
                return budget
            resumed = self._offset
            wanted = self._read_bytes
            while budget > 0:
                room = min(wanted, MAX_SEGMENT - self._offset)
                file.seek(self._offset)
                data = file.read(room)
                at_end = len(data) < room
                # Known frames are scanned too: there may be marks of a round among them.
                found = frames.scan(data, self._salt, previous=self._previous, after_seq=0, final=final and at_end)
                offset = self._offset
                if offset == resumed > self._start and found.parts and isinstance(found.parts[0], frames.Damage):
                    # Where all was well before: the file may have been cut, and may have grown again since.
                    resumed = -1
                    self._begin(segment)
                    if not self._skip_header(file, segment, final=final):
                        return budget
                    continue
                yield from self._take(path, found, data, most, whole=whole)
                if at_end:
                    return budget
                if self._offset == offset and room < wanted:
                    self._refused.add(path)
                    size = status.st_size - offset
                    yield damaged_bytes.too_long(path, offset, size, self._previous + 1, most)
                    return budget
                budget -= self._offset - offset
                # A frame larger than what was read, or a long search: look at more of the file at once.
                wanted = self._read_bytes if self._offset > offset else wanted * 2
        return 0

    def _take(
        self, path: Path, found: frames.Scan, data: bytes, most: int | None, *, whole: bool
    ) -> Iterator[frames.FrameRange | DamagedBytes]:
        """Yield the new parts of the piece of a file that begins at the offset, and move the offset behind them."""
        last, offset = self._previous, self._offset
        self._offset, self._previous = offset + found.consumed, found.last
        for part, following in zip_longest(found.parts, found.parts[1:]):
            if isinstance(part, frames.FrameRange):
                last = part.last
                yield from self._new(part)
            else:
                self._rounds.lose()
                torn = not whole and part.end == len(data) and frames.is_cut_short(data[part.start :])
                before = following.first - 1 if isinstance(following, frames.FrameRange) else most
                size = part.end - part.start
                yield damaged_bytes.damaged(path, offset + part.start, size, last + 1, before, torn=torn)
        # A frame that begins here would be complete by now: what a process writes ends with the longest frame.
        surely = len(data) - found.consumed - _LONGEST
        if surely > _LONGEST:
            self._rounds.lose()
            yield damaged_bytes.damaged(path, self._offset, surely, last + 1, most, torn=False)
            self._offset += surely

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

    def _begin(self, segment: Segment) -> None:
        """Read a segment from its beginning."""
        self._current, self._offset, self._previous = segment.path, 0, segment.first_seq - 1
        self._known = self.after_seq

    def _size_of(self, path: Path) -> int:
        """Return the size of the current segment; an idle poll opens no file.

        -1 if another file is in its place, and the offset if it is gone: its other reader may have deleted it.
        """
        if path in self._refused:
            return self._offset
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return self._offset
        return found.st_size if found.st_ino == self._inode else -1

    def _skip_header(self, file: BinaryIO, segment: Segment, *, final: bool) -> bool:
        file.seek(0)
        head = file.read(frames.MAX_HEADER_SIZE)
        header = frames.read_header(head)
        if header is None and len(head) < frames.HEADER_SIZE and not final:
            return False  # created, but its header is not written yet
        if header is not None and (header.stream, header.first_seq) != (self.stream, segment.first_seq):
            header = None  # another file is in its place
        self._rounds.begin(header)
        # Of a damaged header, each byte is damage; the frames behind it are found by their own magic.
        self._start = self._offset = 0 if header is None else frames.frames_start(head)
        return True

    def _check_link(self, segment: Segment, previous: Segment | None) -> Iterator[DamagedBytes]:
        """Compare the segment before this one with its description in this one's header.

        A segment is deleted only when the journal has all records before the next one.
        """
        first, last = self.after_seq + 1, segment.first_seq - 1
        if last < first or (previous is None and self._current is None):
            return  # where a reader begins, its owner looks for what is missing before
        link = link_of(segment.path)
        if link is None:
            return
        path = segment.path.with_name(segment_name(self.stream, link.first_seq))
        if previous is None or previous.path != path:
            yield damaged_bytes.gone(path, link.size, first, last)
            return
        try:
            size = path.lstat().st_size
        except FileNotFoundError:
            return  # just now, by the other reader of this spool
        if size < link.size and path not in self.damaged:
            yield damaged_bytes.cut(path, size, link.size - size, first, last)

    def _check_empty(
        self, segment: Segment, following: Segment | None, extent: Extent | None
    ) -> Iterator[DamagedBytes]:
        """Report a segment without a header, unless the next one will tell how long it was.

        A loss of power may leave such a file: its name, but nothing of what was written. Then its page has no extent.
        """
        if segment.path in self.damaged or not segment.path.exists():
            return
        if following is not None and link_of(following.path) is not None:
            return
        begun = extent is not None and extent.first == segment.first_seq
        if following is None and not begun and self._known < segment.first_seq:
            return
        last = None if following is None else following.first_seq - 1
        yield damaged_bytes.emptied(segment.path, self.after_seq + 1, last)

    def _check_end(self, segment: Segment, extent: Extent | None) -> Iterator[DamagedBytes]:
        """Compare the newest segment of a stream that has ended with the stream's extent and with the journal."""
        path = segment.path
        if path in self._checked or not path.exists():
            return
        gone = path.with_name(segment_name(self.stream, extent.first if extent is not None else 0))
        if extent is not None and extent.first > segment.first_seq and gone.exists():
            return  # begun behind the listing: the next one has it
        self._checked.add(path)
        if extent is not None and extent.first > segment.first_seq:
            yield damaged_bytes.gone(gone, extent.size, self.after_seq + 1, None)
        elif extent is not None and extent.first == segment.first_seq and self._offset < extent.size:
            yield damaged_bytes.cut(path, self._offset, extent.size - self._offset, self.after_seq + 1, None)
        elif self._previous < self._known and self._known >= segment.first_seq and path not in self.damaged:
            yield damaged_bytes.behind(path, self._offset, self._known)
