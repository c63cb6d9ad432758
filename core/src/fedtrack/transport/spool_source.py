"""SpoolSource: a site's spool folder, its new records, and the files in it that may be deleted.

The site's name is that of the folder's owner in the server's list, never a name that the site wrote.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fedtrack.errors import DamagedError
from fedtrack.journal.journal import GapKind, Journal
from fedtrack.spool import damaged_bytes, frames
from fedtrack.spool.counter_page import page_path, read_extent, read_page
from fedtrack.spool.damaged_bytes import DamagedBytes
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.rounds import Rounds, StreamRounds
from fedtrack.spool.segments import Listing, Segment, continues, is_open, remove, segment_name
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import KINDS_WITH_BLOBS, Artifact, BlobRef, Image, Text, decode
from fedtrack.transport.guard import Guard

log = logging.getLogger(__name__)

#: The most streams of a site that are read in turn, and the most of its losses that are listed one by one.
MAX_STREAMS, MAX_LOSSES = 10_000, 1_000
#: The most bytes of a stream in a pass, and what looking at a stream counts as.
_STREAM_BYTES, _VISIT = 8 * 1024 * 1024, 1024
_NO_SHARE = 2**62

_MAY_HOLD_BLOB = frames.kinds_pattern(KINDS_WITH_BLOBS)


@dataclass(slots=True)
class Portion:
    """The frames that were read of one stream, in the form of ``Journal.apply_all``.

    Attributes:
        batches: Site, stream and frames.
        marks: Site, stream and high-water mark of a stream whose events belong to other sites.
        counts: Site, stream and the counts of log calls that became no event; None if they are not known.
        ends: Site and stream of a stream that has been read to its end.
    """

    batches: list[tuple[str, str, frames.FrameRange]] = field(default_factory=list)
    marks: list[tuple[str, str, int]] = field(default_factory=list)
    counts: list[tuple[str, str, Counts | None]] = field(default_factory=list)
    ends: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.batches or self.marks or self.counts or self.ends)

    @property
    def size(self) -> int:
        """The number of bytes of the frames."""
        return sum(len(run.body) for _, _, run in self.batches)


@dataclass(slots=True, eq=False)
class StreamPass:
    """One stream's part of a pass.

    Attributes:
        source: The source of the stream.
        stream: The stream's id.
        segments: Its segments, listed just before.
        ended: Whether its process was known to be gone before they were listed.
        counted: Whether this pass reads its counts.
        found: Whether the stream had new records.
        portion: The part of it that must be stored.
    """

    source: SpoolSource
    stream: str
    segments: list[Segment]
    ended: bool
    counted: bool = False
    found: bool = False
    portion: Portion = field(default_factory=Portion)


class SpoolSource:
    """A site's spool folder and how far it has been read.

    Args:
        site: The site's name.
        folder: Its spool folder; need not exist yet.
        journal: The journal for the records.
        blobs: The store for the blobs of the records.
        delete: Whether to delete segments that have arrived. Of two readers of one spool, one deletes.
        other: The other reader's journal; a segment is deleted only if this one has its records, too.
        read_bytes: The most bytes to read from a file at once.
        guard: Looks at each record before it is let out of the site; None lets all out.

    Attributes:
        ended: Whether the site's process is gone.
    """

    def __init__(
        self,
        site: str,
        folder: Path,
        journal: Journal,
        blobs: BlobStore,
        *,
        delete: bool = True,
        other: Journal | None = None,
        read_bytes: int = 1024 * 1024,
        guard: Guard | None = None,
    ) -> None:
        self.site = site
        self.guard = guard
        self.folder = folder
        self.journal = journal
        self.ended = False
        self._blobs = blobs
        self._delete = delete
        self._other = other
        self._read_bytes = read_bytes
        self._listing = Listing(folder)
        self._listed = 0
        self._readers: dict[str, SpoolReader] = {}
        self._counts: dict[str, Counts | None] = {}
        self._held: set[str] = set()
        self._pass_bytes = _STREAM_BYTES
        self._turn = _NO_SHARE
        self._next = ""
        self._crowded = False
        self._losses = 0
        self._ended: set[str] = set()
        self._looked = False

    @property
    def has_turn(self) -> bool:
        """Whether more may be read in this pass."""
        return self._turn > 0

    def pass_over(self, stream: StreamPass) -> None:
        """Leave a stream to the next pass, which begins with the first that was left."""
        self._next = self._next or stream.stream
        self._listed = 0  # and read its counts then

    def begin(self, share: int | None = None) -> list[StreamPass]:
        """Return the streams in the folder, for one pass over them.

        Args:
            share: How many bytes the pass may read; None means that only each stream has a limit.
        """
        self._turn = _NO_SHARE if share is None else share
        if self.guard is not None:
            self.guard.log.sign_if_due()
        # Read before the listing: a process that ends after this line may have written until it ended.
        ended = self.ended
        segments, pages = self._listing.files(fresh=ended)
        if ended and self._delete and not self._looked:
            self._looked = True
            segments = {stream: [] for stream in self.journal.unfinished(self.site)} | segments
        # Nothing shows a change of a page without opening it, so an idle poll, which opens no file, ignores it.
        counted, self._listed = self._listing.times != self._listed, self._listing.times
        first, self._next = self._next, ""
        ordered = sorted(segments.items(), key=lambda item: (item[0] < first, item[0]))
        if len(ordered) > MAX_STREAMS:
            self._refuse_streams(len(ordered))
        return [
            StreamPass(self, stream, found, ended, counted and (stream in pages or stream not in self._counts))
            for stream, found in ordered[:MAX_STREAMS]
        ]

    def _refuse_streams(self, count: int) -> None:
        if not self._crowded:
            self._crowded = True
            log.error("%s: it has %d streams, and %d are read at a time", self.site, count, MAX_STREAMS)

    def read(self, stream: StreamPass) -> None:
        """Read the new records into the stream's portion, which is stored next."""
        if stream.counted:
            self._read_counts(stream)
        if not stream.segments:
            self._read_end(stream)
            return
        reader = self._reader(stream.stream, stream.segments[0])
        ending = stream.ended and stream.stream not in self._ended
        extent = read_extent(page_path(self.folder, stream.stream)) if ending else None
        reader.pass_bytes = min(self._pass_bytes, max(1, self._turn))
        self._turn -= _VISIT
        for part in reader.read(stream.segments, ended=stream.ended, extent=extent):
            stream.found = True
            self._turn -= part.size if isinstance(part, DamagedBytes) else len(part.body)
            if isinstance(part, DamagedBytes):
                # Before the next records are stored: after that a restart would not look here again.
                self._report(stream.stream, part)
            else:
                self._take(stream, part)
        if ending and reader.at_end(stream.segments):
            self._end(stream)

    def _read_end(self, stream: StreamPass) -> None:
        """End a stream without segments. Only this source deletes the last one, after the stream has ended."""
        if not stream.ended or not self._delete or stream.stream in self._ended:
            return
        path = page_path(self.folder, stream.stream)
        if is_open(path):
            return  # its process is alive: a segment may follow
        mark, extent = self.journal.high_water(self.site, stream.stream), read_extent(path)
        name = self.folder / segment_name(stream.stream, extent.first if extent else mark + 1)
        if name.exists():
            return  # begun behind the listing: the next one has it
        if (mark or extent) and stream.stream not in self.journal.finished(self.site):
            self._report(stream.stream, damaged_bytes.gone(name, extent.size if extent else 0, mark + 1, None))
        self._end(stream)

    def _end(self, stream: StreamPass) -> None:
        """Note in the stream's portion that its records end here."""
        self._ended.add(stream.stream)
        if self._delete:
            stream.portion.ends.append((self.site, stream.stream))

    def _read_counts(self, stream: StreamPass) -> None:
        """Take the counts of the stream's page, if they have changed."""
        path = page_path(self.folder, stream.stream)
        counts = self._with_refused(stream.stream, read_page(path))
        if stream.stream not in self._counts or self._counts[stream.stream] != counts:
            stream.portion.counts.append((self.site, stream.stream, counts))

    def _with_refused(self, stream: str, counts: Counts | None) -> Counts | None:
        """Return the counts of a page with the records that the guard has refused, which are withheld, too."""
        return counts if self.guard is None else self.guard.counted(stream, counts)

    def settle(self, stream: StreamPass) -> None:
        """Delete the segments whose records are in the journal."""
        for _, name, counts in stream.portion.counts:
            self._counts[name] = counts
        if not self._delete:
            return
        left = list(stream.segments)
        reader = self._readers.get(stream.stream)
        # The last segment only after its end was noted: a process that was still dying when it was read may have gone
        # since, and a stream that has neither segments nor an end is a lost one.
        ended = stream.ended and stream.stream in self._ended
        if reader is not None and (done := reader.deletable(left, ended=ended)):
            if self._other is not None:
                known = self._other.high_water(self.site, stream.stream)
                done = reader.deletable(left, ended=ended, up_to=known)
            for path in done:
                remove(path, damaged=path in reader.damaged)
            left = [segment for segment in left if segment.path not in done]
        if stream.ended and not left and self._other is None:  # the other journal may need the counts, too
            self._delete_page(stream.stream)

    def _delete_page(self, stream: str) -> None:
        """Delete a page that cannot change any more and whose counts are in the journal."""
        path = page_path(self.folder, stream)
        # In this order: when the page is closed, its counts are final.
        if not is_open(path) and self._with_refused(stream, read_page(path)) == self._counts.get(stream):
            path.unlink(missing_ok=True)

    def end_log(self) -> None:
        """Note, and sign, that everything was let out."""
        if self.guard is not None:
            self.guard.log.end()

    def forget(self, stream: StreamPass) -> None:
        """Return to the journal's mark at the next pass."""
        self._readers.pop(stream.stream, None)
        self._ended.discard(stream.stream)
        self._looked = False
        self._listed = 0  # and read the counts again

    def _take(self, stream: StreamPass, run: frames.FrameRange) -> None:
        """Add frames to the stream's portion, after their blobs are in the journal's blob store."""
        if self.guard is not None:
            refused = self.guard.refused(stream.stream)
            run = self.guard.let_out(stream.stream, run)
            if self.guard.refused(stream.stream) != refused:
                self._read_counts(stream)
        kept = self._with_blobs(self.site, stream.stream, run)
        if kept is not None:
            stream.portion.batches.append((self.site, stream.stream, kept))
        if kept is not run:
            stream.portion.marks.append((self.site, stream.stream, run.last))

    def _rounds(self, stream: str) -> Rounds:
        """Return an object that finds the rounds of a stream from its beginning."""
        return StreamRounds()

    def _reader(self, stream: str, oldest: Segment) -> SpoolReader:
        if stream not in self._readers:
            # The journal's high-water mark is the only cursor: there are no two files to keep consistent.
            mark = self.journal.high_water(self.site, stream)
            self._check_start(stream, oldest, mark)
            self._readers[stream] = SpoolReader(stream, mark, self._read_bytes, rounds=self._rounds(stream))
        return self._readers[stream]

    def _check_start(self, stream: str, oldest: Segment, mark: int) -> None:
        """Report records as lost if only a removed journal had them.

        A segment is deleted when its successor begins at the mark.
        """
        if oldest.first_seq <= mark + 1 or not continues(oldest.path):
            return
        name = self.folder / segment_name(stream, mark + 1)
        self._report(stream, damaged_bytes.beginning_gone(name, mark + 1, oldest.first_seq - 1))

    def _with_blobs(self, site: str, stream: str, run: frames.FrameRange) -> frames.FrameRange | None:
        """Adopt the blobs of a run, and return it without the records that use a blob which only another site has.

        Those are a counted loss of their site: what another site has sent must neither be used nor be asked about.
        """
        if run.plain or not _MAY_HOLD_BLOB.search(run.body):
            return run
        bad = {seq: reason for seq, ref in _references(run) if (reason := self._refusal(ref))}
        if not bad:
            return run
        for seq, reason in bad.items():
            log.error("%s: record %d is refused: %s", site, seq, reason)
            self.journal.record_gap(
                site, stream, GapKind.REFUSED, f"record {seq} is refused: {reason}", count=1, first=seq, last=seq
            )
        return run.without(bad)

    def _refusal(self, ref: BlobRef) -> str:
        """Adopt a blob; return why its record must not be stored, or ""."""
        if ref.sha256 in self._held:
            return ""
        try:
            self._blobs.adopt(ref, BlobStore(self.folder / "blobs"))
        except DamagedError as error:
            if self._blobs.holds(ref):
                return str(error)
            log.error("%s: %s", self.site, error)  # each delivery says that it is missing
        else:
            self._held.add(ref.sha256)
        return ""

    def _report(self, stream: str, damage: DamagedBytes) -> None:
        if damage.torn:
            log.info("%s: the last write of a killed process is incomplete: %d bytes", self.site, damage.size)
            return
        self._losses += 1
        if self._losses > MAX_LOSSES:
            if self._losses == MAX_LOSSES + 1:
                log.error("%s: it has had %d losses; further ones are not listed", self.site, MAX_LOSSES)
            what = f"it has had more than {MAX_LOSSES:,} losses; the others are not listed"
            self.journal.record_gap(self.site, "", GapKind.DAMAGED, what)
            return
        log.error("%s: %s", self.site, damage.reason)
        kind = GapKind.MISSING if damage.gone else GapKind.DAMAGED
        reader = self._readers.get(stream)
        count = reader.lost(damage) if reader is not None else None
        self.journal.record_gap(
            self.site,
            stream,
            kind,
            damage.reason,
            count=count,
            first=damage.first,
            last=damage.last,
            size=damage.size,
        )


def _references(run: frames.FrameRange) -> Iterator[tuple[int, BlobRef]]:
    """Yield the blobs that the records of a run use, with the records' numbers."""
    for seq, payload in frames.split(run.body):
        if len(payload) < 2 or payload[1] not in KINDS_WITH_BLOBS:
            continue
        try:
            record = decode(payload)
        except msgspec.DecodeError:
            continue  # each delivery counts it
        data: object = None
        if isinstance(record, Text):
            data = record.text
        elif isinstance(record, Image | Artifact):
            data = record.data
        if isinstance(data, BlobRef):
            yield seq, data
