"""Left: the events of a spool that its reader has not taken yet."""

from __future__ import annotations

from pathlib import Path

from fedtrack.spool.frames import FrameRange
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_streams


def events_left(spool: Path) -> int:
    """Return how many events are in the segments of a spool; they are deleted when they have arrived.

    A segment to which a process still appends is deleted only afterwards, so its events count, too.
    """
    count = 0
    for stream, segments in list_streams(spool).items():
        for part in SpoolReader(stream, pass_bytes=2**62).read(segments, ended=True):
            if isinstance(part, FrameRange):
                count += part.events
    return count
