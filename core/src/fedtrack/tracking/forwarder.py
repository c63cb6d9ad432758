"""Forwarder: carries what sites put into their spools to the journal, and deletes what has arrived.

On one machine no network is needed: the server reads the sites' spool folders, also those that a killed site left
behind. The site's name is the folder's owner as the server knows it, never something the site wrote.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from fedtrack.errors import DamagedError, FedtrackError, WorkspaceError
from fedtrack.tracking import frames
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.records import Artifact, BlobRef, Image, Text, decode
from fedtrack.tracking.spool_reader import DamagedBytes, SpoolReader, list_streams

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
    ) -> None:
        self.site = site
        self.folder = folder
        self.ended = False
        self._journal = journal
        self._blobs = blobs
        self._delete = delete
        self._other = other
        self._readers: dict[str, SpoolReader] = {}

    def forward(self) -> int:
        """Move everything that is readable now into the journal; return how many events that were."""
        count = 0
        # Read before listing: a process that ends after this line may still have written until it did.
        ended = self.ended
        for stream, segments in sorted(list_streams(self.folder).items()):
            reader = self._reader(stream)
            runs: list[frames.Run] = []
            for part in reader.read(segments, ended=ended):
                if isinstance(part, DamagedBytes):
                    self._report(stream, part)
                    continue
                runs.append(part)
                count += part.count
                if len(runs) >= 8:
                    self._apply(stream, runs)
                    runs = []
            if runs:
                self._apply(stream, runs)
            if self._delete:
                up_to = None if self._other is None else self._other.high_water(self.site, stream)
                for path in reader.deletable(segments, ended=ended, up_to=up_to):
                    path.unlink(missing_ok=True)
        return count

    def _reader(self, stream: str) -> SpoolReader:
        if stream not in self._readers:
            # The journal's high-water mark is the only cursor: there are no two files to keep consistent.
            self._readers[stream] = SpoolReader(stream, self._journal.high_water(self.site, stream))
        return self._readers[stream]

    def _apply(self, stream: str, runs: list[frames.Run]) -> None:
        for run in runs:
            self._adopt_blobs(run)
        try:
            self._journal.apply(self.site, stream, runs)
        except WorkspaceError:
            # Nothing was stored: read the stream again from the journal's mark once it takes writes again.
            del self._readers[stream]
            raise

    def _adopt_blobs(self, run: frames.Run) -> None:
        source = BlobStore(self.folder / "blobs")
        for _, payload in frames.split(run.body):
            if payload[1] not in _KINDS_WITH_BLOBS:
                continue
            record = decode(payload)
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
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="forwarder", daemon=True)
        self.error: FedtrackError | None = None

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

    def stop(self) -> None:
        """Forward what is left in the spools, then return."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._forward_all()

    def _loop(self) -> None:
        while not self._stop.is_set():
            if not self._forward_all():
                self._stop.wait(self._poll_seconds)

    def _forward_all(self) -> int:
        with self._lock:
            sources = list(self._sources.values())
        count = 0
        for source in sources:
            try:
                count += source.forward()
                self.error = None
            except (FedtrackError, OSError) as error:
                # A full disk, for example: the records stay in the spools, and the next poll tries again.
                if self.error is None:
                    log.error("%s; its records wait in %s", error, source.folder)
                self.error = error if isinstance(error, FedtrackError) else WorkspaceError(str(error))
        return count
