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
from fedtrack.tracking import frames
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.records import Artifact, BlobRef, Image, Text, decode
from fedtrack.tracking.segments import Segment, continues, list_streams
from fedtrack.tracking.spool_reader import DamagedBytes, SpoolReader

log = logging.getLogger(__name__)

#: Second byte of a payload (the record's kind) of the records that may refer to a blob.
_KINDS_WITH_BLOBS = frozenset((4, 5, 7))


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
        moved: Whether the last ``forward`` found anything, also if it raised.
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
        self.ended = False
        self.moved = False
        self._journal = journal
        self._blobs = blobs
        self._delete = delete
        self._other = other
        self._read_bytes = read_bytes
        self._readers: dict[str, SpoolReader] = {}

    def forward(self) -> bool:
        """Move what is readable now into the journal, at most a few MiB of each stream.

        Returns:
            Whether anything was found, so that there may be more.

        Raises:
            FedtrackError: The journal takes nothing, or a segment cannot be read; the other streams were forwarded.
            OSError: Likewise.
        """
        # Read before listing: a process that ends after this line may still have written until it did.
        ended = self.ended
        self.moved = False
        failure: Exception | None = None
        for stream, segments in sorted(list_streams(self.folder).items()):
            try:
                self.moved |= self._forward_stream(stream, segments, ended)
            except BaseException as error:
                # What was read may not have been stored: go back to the journal's mark.
                self._readers.pop(stream, None)
                if not isinstance(error, Exception):
                    raise
                failure = failure or error
        if failure is not None:
            raise failure
        return self.moved

    def _forward_stream(self, stream: str, segments: list[Segment], ended: bool) -> bool:
        found = False
        reader = self._reader(stream, segments[0])
        runs: list[frames.Run] = []
        for part in reader.read(segments, ended=ended):
            found = True
            if isinstance(part, DamagedBytes):
                # Before what follows it is stored: from then on a restart would not look here again.
                self._report(stream, part)
            else:
                runs.append(part)
        if runs:
            self._store(stream, runs)
        if self._delete:
            up_to = None if self._other is None else self._other.high_water(self.site, stream)
            for path in reader.deletable(segments, ended=ended, up_to=up_to):
                path.unlink(missing_ok=True)
        return found

    def _store(self, stream: str, runs: list[frames.Run]) -> None:
        """Put what was read into the journal."""
        for run in runs:
            self._adopt_blobs(run)
        self._journal.apply(self.site, stream, runs)

    def _reader(self, stream: str, oldest: Segment) -> SpoolReader:
        if stream not in self._readers:
            # The journal's high-water mark is the only cursor: there are no two files to keep consistent.
            mark = self._journal.high_water(self.site, stream)
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
        self._journal.record_gap(self.site, stream, 0, reason, mark + 1, oldest.first_seq - 1)

    def _adopt_blobs(self, run: frames.Run) -> None:
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
        self._journal.record_gap(self.site, stream, damage.size, reason)


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
            if not self._forward_all():
                self._stop.wait(self._poll_seconds)

    def _forward_all(self) -> bool:
        with self._lock:
            sources = list(self._sources.values())
        found = False
        for source in sources:
            try:
                source.forward()
            except Exception as error:  # of whatever kind: the other sites' records must not wait for this one
                # A full disk, for example: the records stay in the spool, and the next poll tries again.
                if source.site not in self._errors:
                    log.error("%s: %s; its records wait in %s", source.site, error, source.folder)
                self._errors[source.site] = error
            else:
                if self._errors.pop(source.site, None) is not None:
                    log.warning("%s: its records are forwarded again", source.site)
            found |= source.moved  # of a site with one stream that nobody can read, the others go on
        return found
