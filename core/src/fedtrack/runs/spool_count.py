"""SpoolCount: the records of a spool folder that are not in a journal yet, counted without changing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedtrack.errors import DamagedError
from fedtrack.runs.journal_facts import StreamFacts
from fedtrack.spool import frames
from fedtrack.spool.counts import read_count
from fedtrack.spool.hosted import unwrap
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_files
from fedtrack.tracking.records import HOSTED_KIND

_MAY_BE_HOSTED = frames.kinds_pattern((HOSTED_KIND,))


@dataclass
class SpoolCount:
    """The records in a spool beyond the marks of a journal.

    Attributes:
        streams: By stream: the events beyond its mark, and its page's counts for the whole stream.
        unreadable: Why a stream could not be counted to its end, by stream.
        damaged: The streams with damaged bytes; an incomplete last write of a process is not damage.
    """

    streams: dict[str, StreamFacts] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)

    @property
    def uncountable(self) -> set[str]:
        """The streams whose number of records cannot be known from the spool."""
        return self.damaged | self.unreadable.keys()

    @property
    def events(self) -> int | None:
        """How many events wait; None if not all of them can be read."""
        return None if self.unreadable else sum(facts.events for facts in self.streams.values())


def count_beyond(folder: Path, marks: Mapping[str, int]) -> SpoolCount | None:
    """Count the intact events of a spool folder beyond the marks of their streams; None if there is no folder."""
    if not folder.is_dir():
        return None
    found = SpoolCount()
    for stream, segments in list_files(folder).segments.items():
        # Read before the records: a call that returns in between may be missing, and is never counted twice.
        counts = read_count(folder, stream)
        events = 0
        reader = SpoolReader(stream, marks.get(stream, 0), pass_bytes=2**62)
        try:
            for part in reader.read(segments, ended=True) if segments else ():
                if isinstance(part, frames.FrameRange):
                    events += _events_in(part)
                elif not part.torn:
                    found.damaged.add(stream)
        except DamagedError as error:  # of a newer version: the other streams are counted nevertheless
            found.unreadable[stream] = str(error)
        found.streams[stream] = StreamFacts(events, counts)
    return found


def _events_in(run: frames.FrameRange) -> int:
    if not _MAY_BE_HOSTED.search(run.body):
        return frames.events_in(run.body, run.count)
    total = 0
    for _, payload in frames.split(run.body):
        hosted = unwrap(payload)
        total += frames.is_event(payload if hosted is None else hosted[1])
    return total
