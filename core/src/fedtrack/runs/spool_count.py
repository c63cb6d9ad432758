"""SpoolCount: the records of a spool folder that are not in a journal yet, counted without changing it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedtrack.errors import DamagedError
from fedtrack.journal.journal import Journal
from fedtrack.runs.journal_facts import StreamFacts
from fedtrack.spool import damaged_bytes, frames
from fedtrack.spool.counter_page import page_path, read_extent
from fedtrack.spool.counts import read_count
from fedtrack.spool.damaged_bytes import DamagedBytes
from fedtrack.spool.hosted import unwrap
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import Segment, continues, is_open, list_files, segment_name
from fedtrack.tracking.records import HOSTED_KIND

_MAY_BE_HOSTED = frames.kinds_pattern((HOSTED_KIND,))


@dataclass
class SpoolCount:
    """The records in a spool beyond the marks of a journal.

    Attributes:
        streams: By stream: the events beyond its mark, and its page's counts for the whole stream.
        unreadable: Why a stream could not be counted to its end, by stream.
        damaged: The streams with damage of which it is not known that no record was lost.
        damage: The damage, with its stream; an incomplete last write of a process is none.
    """

    streams: dict[str, StreamFacts] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    damage: list[tuple[str, DamagedBytes]] = field(default_factory=list)

    @property
    def uncountable(self) -> set[str]:
        """The streams whose number of records cannot be known from the spool."""
        return self.damaged | self.unreadable.keys()

    @property
    def events(self) -> int | None:
        """How many events wait; None if not all of them can be read."""
        return None if self.unreadable else sum(facts.events for facts in self.streams.values())


def count_spool(folder: Path | None, journal: Journal | None, site: str) -> SpoolCount | None:
    """Count what a spool has that a journal has not yet; None if there is no spool, or it is not here."""
    if folder is None:
        return None
    if journal is None:
        return count_beyond(folder, {})
    marks, unfinished = journal.high_waters(site), journal.unfinished(site)
    found = count_beyond(folder, marks, unfinished, journal.finished(site))
    if found is not None and found.damage:
        # While a run goes on, its server may have read and deleted what seemed to be missing.
        marks, finished = journal.high_waters(site), journal.finished(site)
        found.damage = [
            (stream, one)
            for stream, one in found.damage
            if not one.gone or (marks.get(stream, 0) < one.first and (one.last is not None or stream not in finished))
        ]
    return found


def count_beyond(
    folder: Path,
    marks: Mapping[str, int],
    unfinished: Collection[str] = (),
    finished: Collection[str] | None = None,
) -> SpoolCount | None:
    """Count the intact events of a spool folder beyond the marks of their streams; None if there is nothing to count.

    Args:
        folder: The spool; need not exist.
        marks: The journal's mark of each stream.
        unfinished: The streams of this spool that the journal has not read to the end; see ``Journal.unfinished``.
        finished: Those that it has read to the end, and whose segments may be gone; None if that is not known.
    """
    there = list_files(folder).segments
    lost: dict[str, list[Segment]] = {stream: [] for stream in unfinished if marks.get(stream) and stream not in there}
    if not lost and not folder.is_dir():
        return None
    found = SpoolCount()
    for stream, segments in {**there, **lost}.items():
        # Read before the records: a call that returns in between may be missing, and is never counted twice.
        counts = read_count(folder, stream)
        events = 0
        try:
            events = _count(found, folder, stream, segments, marks.get(stream, 0), finished)
        except DamagedError as error:  # of a newer version: the other streams are counted nevertheless
            found.unreadable[stream] = str(error)
        found.streams[stream] = StreamFacts(events, counts)
    return found


def _count(
    found: SpoolCount, folder: Path, stream: str, segments: list[Segment], mark: int, finished: Collection[str] | None
) -> int:
    """Return how many events a stream has beyond its mark, and note its damage."""
    path = page_path(folder, stream)
    if not segments:
        extent = read_extent(path)
        if finished is not None and stream not in finished and (mark or extent) and not is_open(path):
            name = folder / segment_name(stream, extent.first if extent else mark + 1)
            _note(found, stream, damaged_bytes.gone(name, extent.size if extent else 0, mark + 1, None), None)
        return 0
    events = 0
    if segments[0].first_seq > mark + 1 and continues(segments[0].path):
        name = folder / segment_name(stream, mark + 1)
        _note(found, stream, damaged_bytes.beginning_gone(name, mark + 1, segments[0].first_seq - 1), None)
    reader = SpoolReader(stream, mark, pass_bytes=2**62)
    for part in reader.read(segments, ended=True, extent=read_extent(path)):
        if isinstance(part, frames.FrameRange):
            events += _events_in(part)
        elif not part.torn:
            _note(found, stream, part, reader.lost(part))
    return events


def _note(found: SpoolCount, stream: str, damage: DamagedBytes, lost: int | None) -> None:
    found.damage.append((stream, damage))
    if lost is None:
        found.damaged.add(stream)


def _events_in(run: frames.FrameRange) -> int:
    if not _MAY_BE_HOSTED.search(run.body):
        return frames.events_in(run.body, run.count)
    total = 0
    for _, payload in frames.split(run.body):
        hosted = unwrap(payload)
        total += frames.is_event(payload if hosted is None else hosted[1])
    return total
