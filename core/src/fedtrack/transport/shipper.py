"""SpoolShipper: a site's side of the conversation with the server; knows nothing of FLARE.

One thread, one message at a time: when the server is slow the spool grows, and nothing else. What the server has
not acknowledged is never deleted.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import msgspec

from fedtrack.errors import TransportError
from fedtrack.spool import frames
from fedtrack.spool.reader import DamagedBytes, SpoolReader
from fedtrack.spool.segments import Segment, list_streams
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import KINDS_WITH_BLOBS, Artifact, BlobRef, Image, Text, decode
from fedtrack.transport.wire import MAX_BATCH, Ack, Bye, Damage, FilePart, Frames, FromSite, Hello

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
#: How long to wait for the answer to a goodbye.
_BYE_SECONDS = 15.0
_FIRST_BACKOFF_SECONDS, _LONGEST_BACKOFF_SECONDS = 0.1, 5.0

#: Sends one message and returns the answer; raises TransportError.
Call = Callable[[FromSite], Ack]


class _Behind(Exception):  # noqa: N818 - a turn of the conversation, not an error
    """The server has less of a stream than this site took it to have."""

    def __init__(self, mark: int) -> None:
        super().__init__(mark)
        self.mark = mark


class SpoolShipper:
    """Ships one run's spool.

    Args:
        folder: The spool.
        run_id: The run.
        call: How a message reaches the server; used by one thread at a time.
        kept_by: Returns how much of a stream another reader of the spool has; nothing beyond it is deleted.
    """

    def __init__(self, folder: Path, run_id: str, call: Call, kept_by: Callable[[str], int] | None = None) -> None:
        self.folder = folder
        self.retries = 0
        self.rejected: dict[str, str] = {}
        self._run_id = run_id
        self._call = call
        self._kept_by = kept_by
        self._marks: dict[str, int] | None = None
        self._lost: dict[str, int] = {}
        self._readers: dict[str, SpoolReader] = {}
        self._sent_files: set[str] = set()
        self._stop = threading.Event()
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._work, name="fedtrack-shipper", daemon=True)

    def start(self) -> None:
        """Begin to ship, in the background."""
        self._thread.start()

    def finish(self, bye: Callable[[dict[str, int]], Bye], timeout: float) -> bool:
        """Ship what is left, say goodbye, and return whether the server has everything.

        Args:
            bye: Makes the goodbye from the streams' final numbers.
            timeout: Seconds after which the rest is left in the spool, for a later drain.
        """
        self._deadline = monotonic() + timeout
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if self._thread.is_alive():
            return False  # still in a call that does not return; it is the thread's, not ours
        try:
            return self._finish(bye)
        except TransportError as error:
            log.warning("%s; what is left is kept in %s", error, self.folder)
            return False

    def _finish(self, bye: Callable[[dict[str, int]], Bye]) -> bool:
        while True:
            while self.ship(ended=True):
                pass  # a call ships a bounded part of each stream
            if self.rejected:
                return False
            final = dict(self._marks or {})
            # Nothing can be lost any more, and a server that has the goodbye and is gone will not answer.
            self._deadline = min(self._deadline or monotonic(), monotonic() + _BYE_SECONDS)
            if self._ask(bye(final)).verdict == "stored":
                return True
            self._marks = None  # the server lost something since it acknowledged it: ask it how far it is

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                count = self.ship(ended=False)
            except TransportError as error:
                log.warning("%s; events wait in %s", error, self.folder)
                count = 0
            except OSError as error:
                log.error("%s cannot be read: %s", self.folder, error)
                count = 0
            if not count:
                self._stop.wait(_POLL_SECONDS)

    def ship(self, *, ended: bool) -> int:
        """Ship everything that is readable now and return how many records that were.

        Args:
            ended: Whether nothing will be appended to the spool any more.

        Raises:
            TransportError: The server cannot be reached; only after ``finish`` was called, and its time is up.
        """
        if self._marks is None:
            self._marks = dict(self._ask(Hello(self._run_id)).marks)
            self._readers.clear()
        count = 0
        for stream, segments in sorted(list_streams(self.folder).items()):
            if stream in self.rejected:
                continue
            try:
                count += self._ship_stream(stream, segments, ended=ended)
            except _Behind as behind:
                self._step_back(stream, segments, behind.mark)
                count += self._ship_stream(stream, segments, ended=ended)
            except BaseException:
                self._readers.pop(stream, None)  # it has read what was not acknowledged
                raise
            self._delete(stream, segments, ended=ended)
        return count

    def _ship_stream(self, stream: str, segments: list[Segment], *, ended: bool) -> int:
        assert self._marks is not None  # noqa: S101 - set by ship()
        if stream not in self._readers:
            mark = self._marks.setdefault(stream, 0)
            if mark == 0 and segments[0].first_seq > 1:
                self._lost[stream] = segments[0].first_seq - 1
            self._readers[stream] = SpoolReader(stream, mark, read_bytes=MAX_BATCH)
        count = 0
        for part in self._readers[stream].read(segments, ended=ended):
            if isinstance(part, DamagedBytes):
                self._report(stream, part)
                continue
            self._send_files(part)
            ack = self._ask(
                Frames(
                    self._run_id,
                    stream,
                    self._marks[stream],
                    self._lost.get(stream, 0),
                    part.first,
                    part.last,
                    part.count,
                    part.body,
                )
            )
            if ack.verdict == "rejected":
                log.error("%s: the server refuses the stream %s: %s", self.folder, stream, ack.reason)
                self.rejected[stream] = ack.reason
                break
            if ack.verdict == "gap":
                raise _Behind(ack.stored_upto)
            self._lost.pop(stream, None)
            self._marks[stream] = ack.stored_upto
            count += part.count
        return count

    def _step_back(self, stream: str, segments: list[Segment], mark: int) -> None:
        assert self._marks is not None  # noqa: S101
        log.warning(
            "%s: the server has %d of %s, not %d; sending again", self.folder, mark, stream, self._marks[stream]
        )
        self._marks[stream] = mark
        self._readers[stream] = SpoolReader(stream, mark, read_bytes=MAX_BATCH)
        if segments[0].first_seq > mark + 1:
            self._lost[stream] = segments[0].first_seq - 1 - mark

    def _delete(self, stream: str, segments: list[Segment], *, ended: bool) -> None:
        assert self._marks is not None  # noqa: S101
        if stream in self.rejected or stream not in self._readers:
            return
        known = self._marks[stream]
        if self._kept_by is not None:
            known = min(known, self._kept_by(stream))
        for path in self._readers[stream].deletable(segments, ended=ended, up_to=known):
            path.unlink(missing_ok=True)

    def _send_files(self, run: frames.FrameRange) -> None:
        store = BlobStore(self.folder / "blobs")
        for ref in _references(run):
            if ref.sha256 in self._sent_files:
                continue
            try:
                path = store.path(ref)
            except Exception as error:  # the record is shipped all the same: it says what is missing
                log.error("%s: %s", self.folder, error)
                continue
            self._send_file(path, ref)
            self._sent_files.add(ref.sha256)

    def _send_file(self, path: Path, ref: BlobRef) -> None:
        offset = 0
        with path.open("rb") as file:
            while offset < ref.size or ref.size == 0:
                file.seek(offset)
                part = FilePart(self._run_id, ref.sha256, ref.size, offset, file.read(MAX_BATCH))
                ack = self._ask(part)
                if ack.verdict == "rejected":
                    log.error("%s: the server refuses the file %s: %s", self.folder, ref.sha256, ack.reason)
                    return
                offset = ack.stored_upto
                if offset >= ref.size:
                    return

    def _report(self, stream: str, damage: DamagedBytes) -> None:
        if damage.torn:
            log.info("the last write of a killed process is incomplete: %d bytes", damage.size)
            return
        reason = f"{damage.size} damaged bytes at offset {damage.start} of {damage.path.name}"
        log.error("%s; the records in them are lost", reason)
        self._ask(Damage(self._run_id, stream, damage.size, reason))

    def _ask(self, message: FromSite) -> Ack:
        """Send until there is an answer other than busy.

        Raises:
            TransportError: ``finish`` was called, and its time is up.
        """
        attempt = 0
        while True:
            wait = min(_FIRST_BACKOFF_SECONDS * 2**attempt, _LONGEST_BACKOFF_SECONDS)
            try:
                ack = self._call(message)
                if ack.verdict != "busy":
                    return ack
                wait, reason = max(wait, ack.retry_after), ack.reason
            except (TransportError, msgspec.MsgspecError) as error:
                reason = str(error)
            self.retries += 1
            attempt += 1
            if self._deadline is not None and monotonic() + wait > self._deadline:
                raise TransportError(f"The server does not take events: {reason}")
            # After finish() was called the wait is short: the end of the run is waiting.
            jittered = wait * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
            if self._stop.is_set():
                sleep(min(jittered, 0.5))
            else:
                self._stop.wait(jittered)


def _references(run: frames.FrameRange) -> Iterator[BlobRef]:
    for _, payload in frames.split(run.body):
        if payload[1] not in KINDS_WITH_BLOBS:
            continue
        record = decode(payload)
        data: object = None
        if isinstance(record, Text):
            data = record.text
        elif isinstance(record, Image | Artifact):
            data = record.data
        if isinstance(data, BlobRef):
            yield data
