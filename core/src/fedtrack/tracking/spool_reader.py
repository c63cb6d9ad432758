"""SpoolReader: reads one stream's segments while its process may still be appending to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from fedtrack.tracking import frames

_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})\.spool\Z")


class Segment(NamedTuple):
    """A file of a stream; sorts in the order in which a stream's segments were written."""

    first_seq: int
    path: Path


class DamagedBytes(NamedTuple):
    """Bytes of a segment that are no record.

    Attributes:
        path: The segment.
        start: Offset of the first byte.
        size: How many bytes.
        torn: Whether they are the unfinished end of a stream whose process died: the write that SIGKILL cut,
            whose log call had not returned. Anything else is damage done to the file.
    """

    path: Path
    start: int
    size: int
    torn: bool


def list_streams(folder: Path) -> dict[str, list[Segment]]:
    """Return the segments of every stream in a spool folder, each in writing order."""
    streams: dict[str, list[Segment]] = {}
    if not folder.is_dir():
        return streams
    for path in folder.iterdir():
        if match := _NAME.match(path.name):
            streams.setdefault(match[1], []).append(Segment(int(match[2], 16), path))
    for segments in streams.values():
        segments.sort()
    return streams


class SpoolReader:
    """Reads one stream from a given sequence number on.

    Args:
        stream: The stream's id.
        after_seq: The highest sequence number that is already known.
        read_bytes: The most to read from a file at once.
    """

    def __init__(self, stream: str, after_seq: int = 0, read_bytes: int = 1024 * 1024) -> None:
        self.stream = stream
        self.after_seq = after_seq
        self._read_bytes = max(read_bytes, frames.HEADER_SIZE)
        self._current: Path | None = None
        self._offset = 0
        self._finished: set[Path] = set()

    def read(self, segments: list[Segment], *, ended: bool) -> Iterator[frames.Run | DamagedBytes]:
        """Yield what is new in the stream.

        Args:
            segments: The stream's segments, listed just before.
            ended: Whether the stream's process is gone, so that nothing will be appended any more.
        """
        for index, segment in enumerate(segments):
            is_last = index == len(segments) - 1
            if segment.path in self._finished:
                continue
            if not is_last and segments[index + 1].first_seq <= self.after_seq + 1 and segment.path != self._current:
                self._finished.add(segment.path)
                continue
            yield from self._read_segment(segment.path, final=ended or not is_last, newest=is_last)
            if not is_last:
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
        if ended and segments and known >= self.after_seq and self._current == segments[-1].path and self._at_end():
            done.append(segments[-1].path)
        return done

    def _at_end(self) -> bool:
        return self._current is not None and self._offset >= self._current.stat().st_size

    def _read_segment(self, path: Path, *, final: bool, newest: bool) -> Iterator[frames.Run | DamagedBytes]:
        if path != self._current:
            self._current, self._offset = path, 0
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return  # delivered and deleted by whoever reads this spool too
        with file:
            if self._offset == 0 and not self._skip_header(file.read(frames.HEADER_SIZE), final=final):
                return
            wanted = self._read_bytes
            while True:
                file.seek(self._offset)
                data = file.read(wanted)
                if not data:
                    return
                at_end = len(data) < wanted
                found = frames.scan(data, self.after_seq, final=final and at_end)
                for part in found.parts:
                    if isinstance(part, frames.Run):
                        self.after_seq = part.last
                        yield part
                    else:
                        torn = newest and at_end and part.end == len(data)
                        yield DamagedBytes(path, self._offset + part.start, part.end - part.start, torn)
                self._offset += found.consumed
                if at_end:
                    return
                # A frame larger than what was read, or a long search: look at more of the file at once.
                wanted = self._read_bytes if found.consumed else wanted * 2

    def _skip_header(self, head: bytes, *, final: bool) -> bool:
        if frames.read_header(head) is None and len(head) < frames.HEADER_SIZE and not final:
            return False  # created, but its header is not written yet
        # A damaged header costs nothing: frames are found by their own magic and checksum.
        self._offset = min(len(head), frames.HEADER_SIZE)
        return True
