"""Forwarder: carries what sites put into their spools to the journal, and deletes what has arrived.

On one machine no network is needed: the server reads the sites' spool folders, also those that a killed site left
behind. The site's name is the folder's owner as the server knows it, never something the site wrote.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from time import monotonic, sleep

import msgspec

from fedtrack.errors import DamagedError
from fedtrack.journal.journal import GapKind, Journal
from fedtrack.spool import frames
from fedtrack.spool.reader import DamagedBytes, SpoolReader
from fedtrack.spool.segments import Listing, Segment, continues
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Artifact, BlobRef, Image, Text, decode
from fedtrack.transport.forward_pass import ForwardPass, Portion, StreamPass

log = logging.getLogger(__name__)

#: Second byte of a payload (the record's kind) of the records that may refer to a blob.
_KINDS_WITH_BLOBS = frozenset((4, 5, 7))
_MAY_HOLD_BLOB = frames.kinds_pattern(_KINDS_WITH_BLOBS)

#: While sites log, how long to wait between two passes: a metric waits half as long on average.
_ACTIVE_POLL_SECONDS = 0.02
_ACTIVE_SECONDS = 1.0


class SpoolSource:
    """A site's spool folder and how far it has been read.

    Args:
        site: The site's name.
        folder: Its spool folder; need not exist yet.
        journal: Where the records go.
        blobs: Where the blobs of the records go.
        delete: Whether to delete segments that have arrived. Of two readers of one spool, one deletes.
        other: The other reader's journal: what it does not have yet is not deleted either.
        read_bytes: The most to read from a file at once.

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
    ) -> None:
        self.site = site
        self.folder = folder
        self.journal = journal
        self.ended = False
        self._blobs = blobs
        self._delete = delete
        self._other = other
        self._read_bytes = read_bytes
        self._listing = Listing(folder)
        self._readers: dict[str, SpoolReader] = {}

    def forward(self) -> bool:
        """Move what is readable now into the journal, at most a few MiB of each stream.

        Returns:
            Whether anything was found, so that there may be more.

        Raises:
            FedtrackError: The journal takes nothing, or a segment cannot be read; the other streams were forwarded.
            OSError: Likewise.
        """
        one = ForwardPass()
        one.run([self])
        for failure in one.failures.values():
            raise failure
        return one.found

    def begin(self) -> list[StreamPass]:
        """Return the streams in the folder as a pass is going to read them."""
        # Read before listing: a process that ends after this line may still have written until it did.
        ended = self.ended
        streams = self._listing.streams(fresh=ended)
        return [StreamPass(self, stream, segments, ended) for stream, segments in sorted(streams.items())]

    def read(self, stream: StreamPass) -> None:
        """Read what is new into the stream's portion, which is stored next."""
        reader = self._reader(stream.stream, stream.segments[0])
        runs: list[frames.FrameRange] = []
        for part in reader.read(stream.segments, ended=stream.ended):
            stream.found = True
            if isinstance(part, DamagedBytes):
                # Before what follows it is stored: from then on a restart would not look here again.
                self._report(stream.stream, part)
            else:
                runs.append(part)
        if runs:
            stream.portion = self._portion(stream.stream, runs)

    def settle(self, stream: StreamPass) -> None:
        """Delete what is in the journal now."""
        reader = self._readers[stream.stream]
        if not self._delete or not reader.deletable(stream.segments, ended=stream.ended):
            return
        up_to = None if self._other is None else self._other.high_water(self.site, stream.stream)
        for path in reader.deletable(stream.segments, ended=stream.ended, up_to=up_to):
            path.unlink(missing_ok=True)

    def forget(self, stream: StreamPass) -> None:
        """Go back to the journal's mark at the next pass."""
        self._readers.pop(stream.stream, None)

    def _portion(self, stream: str, runs: list[frames.FrameRange]) -> Portion:
        """Return what was read as the journal shall store it, with its blobs where the journal's receivers look."""
        for run in runs:
            self._adopt_blobs(run)
        return Portion([(self.site, stream, run) for run in runs])

    def _reader(self, stream: str, oldest: Segment) -> SpoolReader:
        if stream not in self._readers:
            # The journal's high-water mark is the only cursor: there are no two files to keep consistent.
            mark = self.journal.high_water(self.site, stream)
            self._check_start(stream, oldest, mark)
            self._readers[stream] = SpoolReader(stream, mark, self._read_bytes)
        return self._readers[stream]

    def _check_start(self, stream: str, oldest: Segment, mark: int) -> None:
        """Report what only a journal had that is gone: a segment is deleted when its successor begins at the mark."""
        if oldest.first_seq <= mark + 1 or not continues(oldest.path):
            return
        reason = (
            f"records {mark + 1} to {oldest.first_seq - 1} of a stream are in no spool any more, and not in this "
            "journal: an older one that had them was removed"
        )
        log.error("%s: %s", self.site, reason)
        first, last = mark + 1, oldest.first_seq - 1
        self.journal.record_gap(self.site, stream, GapKind.MISSING, reason, first=first, last=last)

    def _adopt_blobs(self, run: frames.FrameRange) -> None:
        if not _MAY_HOLD_BLOB.search(run.body):
            return
        source = BlobStore(self.folder / "blobs")
        for _, payload in frames.split(run.body):
            if len(payload) < 2 or payload[1] not in _KINDS_WITH_BLOBS:
                continue
            try:
                record = decode(payload)
            except msgspec.DecodeError:
                continue  # each delivery counts it
            if isinstance(record, Text):
                data: object = record.text
            elif isinstance(record, Image | Artifact):
                data = record.data
            else:
                continue
            if isinstance(data, BlobRef):
                try:
                    self._blobs.adopt(data, source)
                except DamagedError as error:
                    log.error("%s: %s", self.site, error)

    def _report(self, stream: str, damage: DamagedBytes) -> None:
        if damage.torn:
            log.info("%s: the last write of a killed process is incomplete: %d bytes", self.site, damage.size)
            return
        reason = f"{damage.size} damaged bytes at offset {damage.start} of {damage.path.name}"
        log.error("%s: %s; the records in them are lost", self.site, reason)
        self.journal.record_gap(self.site, stream, GapKind.DAMAGED, reason, size=damage.size)


class Forwarder:
    """A thread that forwards from many spools.

    Args:
        poll_seconds: How long to wait when no spool had anything new.
    """

    def __init__(self, poll_seconds: float = 0.05) -> None:
        self._poll_seconds = poll_seconds
        self._sources: dict[str, SpoolSource] = {}
        self._errors: dict[str, Exception] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._found_at = 0.0
        self._thread = threading.Thread(target=self._loop, name="forwarder", daemon=True)

    @property
    def errors(self) -> dict[str, str]:
        """Why the records of a site still wait in its spool, by site; empty if none do."""
        return {site: str(error) for site, error in list(self._errors.items())}

    def add(self, source: SpoolSource) -> None:
        """Read from one more spool."""
        with self._lock:
            self._sources[source.site] = source

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def end(self, site: str) -> None:
        """Say that a site's process is gone: an incomplete frame at the end of its spool will not be completed."""
        with self._lock:
            if site in self._sources:
                self._sources[site].ended = True

    def end_all(self) -> None:
        """Say so of every process."""
        with self._lock:
            for source in self._sources.values():
                source.ended = True

    def stop(self, patience_seconds: float = 5.0) -> None:
        """Forward what is left in the spools, then return.

        Args:
            patience_seconds: How long to try again when something fails; see ``errors`` for what still did.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = monotonic() + patience_seconds
        while self._forward_all() or (self._waiting_helps() and monotonic() < deadline):
            if self._errors:
                sleep(self._poll_seconds)

    def _waiting_helps(self) -> bool:
        """Return whether anything failed that may succeed later: no spool of a newer version becomes an older one."""
        return any(not isinstance(error, DamagedError) for error in self._errors.values())

    def _loop(self) -> None:
        while not self._stop.is_set():
            found = self._forward_all()
            if found:
                self._found_at = monotonic()
            self._stop.wait(self._pause(found))

    def _pause(self, found: bool) -> float:
        """Return how long to wait before the next pass.

        Sites that log are looked at often, but not without a pause: a pass costs a COMMIT, whatever it brings.
        """
        active = found or monotonic() - self._found_at < _ACTIVE_SECONDS
        return min(_ACTIVE_POLL_SECONDS, self._poll_seconds) if active else self._poll_seconds

    def _forward_all(self) -> bool:
        with self._lock:
            sources = list(self._sources.values())
        one = ForwardPass()
        one.run(sources)
        for source in sources:
            self._note(source, one.failures.get(source))
        return one.found

    def _note(self, source: SpoolSource, error: Exception | None) -> None:
        if error is None:
            if self._errors.pop(source.site, None) is not None:
                log.warning("%s: its records are forwarded again", source.site)
            return
        # A full disk, for example: the records stay in the spool, and the next poll tries again.
        if source.site not in self._errors:
            log.error("%s: %s; its records wait in %s", source.site, error, source.folder)
        self._errors[source.site] = error
