"""Spool: the append-only files into which a process puts its records, one system call each.

When ``append`` returns, the record is in the page cache and survives the death of the process. Each incarnation
of a process writes a stream of its own (128 random bits) and never appends to a file that another one wrote,
because SIGKILL can tear a single ``write``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from time import sleep, time_ns
from typing import Literal

from fedtrack.errors import ConfigError, FedtrackError
from fedtrack.tracking import frames
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Gap, Record, encode

log = logging.getLogger(__name__)

#: "process": survives the death of the process. "host": at most 0.5 s are lost when the power fails.
#: "disk": nothing is lost when the power fails; every log call waits for the disk.
Durability = Literal["process", "host", "disk"]

#: What to do with a record when the disk or the spool's limit is full.
OnFull = Literal["drop", "block", "raise"]

#: Kept free below the limit, so that a gap record can always say what was dropped.
RESERVE_BYTES = 64 * 1024

HOST_SYNC_SECONDS = 0.5
_BLOCK_POLL_SECONDS = 0.05
_CHUNK_BYTES = 256 * 1024

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class SpoolFull(FedtrackError):  # noqa: N818 - the state, not a fault of the program
    """The disk or the spool's limit is full and the spool was created with ``on_full="raise"``."""


class Spool:
    """One stream of records on disk; safe to use from any thread, signal handler or forked child.

    Args:
        folder: Where the segments go; created 0700.
        segment_bytes: A new segment is started before one would grow beyond this.
        limit_bytes: The most that undelivered segments of this stream may take.
        durability: See ``Durability``.
        on_full: See ``OnFull``; what is dropped is counted and reported in one gap record.

    Attributes:
        blobs: Where large values of this spool's records are kept.
        dropped: How many records found no room so far.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 4 * 1024 * 1024,
        limit_bytes: int = 1024 * 1024 * 1024,
        durability: Durability = "process",
        on_full: OnFull = "drop",
    ) -> None:
        if durability not in ("process", "host", "disk"):
            raise ConfigError(f"durability is {durability!r}; valid are 'process', 'host' and 'disk'.")
        if on_full not in ("drop", "block", "raise"):
            raise ConfigError(f"on_full is {on_full!r}; valid are 'drop', 'block' and 'raise'.")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs")
        self.dropped = 0
        self._segment_bytes = segment_bytes
        self._limit_bytes = limit_bytes
        self._durability = durability
        self._on_full = on_full
        self._fd = -1
        self._restart()
        _spools.add(self)

    def _restart(self) -> None:
        """Begin a new stream; also what a forked child does with its copy."""
        # Reentrant: a signal handler may log while its own thread is inside append().
        self._lock = threading.RLock()
        self._writing = False
        self._nested: Spool | None = None
        self.stream = os.urandom(16).hex()
        self._next_seq = 1
        self._segment_size = 0
        self._older_bytes = 0
        self._unreported = 0
        self._reason = ""
        self._syncer: threading.Thread | None = None
        self._closed = False

    def append(self, record: Record) -> None:
        """Store one record; when this returns, it survives the death of the process.

        A record that finds no room is dropped and counted, or as ``on_full`` says.

        Raises:
            SpoolFull: Only with ``on_full="raise"``.
        """
        payload = encode(record)
        with self._lock:
            if self._writing:
                self._inner().append(record)
                return
            self._writing = True
            try:
                if self._unreported:
                    self._report_gap()
                # Claimed before the write: an exception between the two may leave a hole, which is legal,
                # but never two records with one number, of which the journal would drop the second.
                seq = self._next_seq
                self._next_seq = seq + 1
                self._store(frames.frame(seq, payload), seq, 1)
            finally:
                self._writing = False

    def extend(self, records: Iterable[Record]) -> None:
        """Store several records with one write per 256 KiB; what finds no room is dropped and counted.

        Raises:
            SpoolFull: Only with ``on_full="raise"``.
        """
        payloads = [encode(record) for record in records]
        with self._lock:
            if self._writing:
                for payload in payloads:
                    self._inner()._append_payload(payload)
                return
            self._writing = True
            try:
                if self._unreported:
                    self._report_gap()
                self._write_chunks(payloads)
            finally:
                self._writing = False

    def flush(self) -> None:
        """Make everything stored so far survive the loss of power."""
        with self._lock:
            if self._fd >= 0:
                os.fdatasync(self._fd)

    def close(self) -> None:
        """Report what was dropped, and release the file; a later append starts a new segment."""
        with self._lock:
            if self._unreported:
                self._report_gap(reserve=RESERVE_BYTES)
            self._close_segment()
            if self._nested is not None:
                self._nested.close()
            self._closed = True

    @property
    def last_seq(self) -> int:
        """The highest sequence number claimed so far in this stream."""
        return self._next_seq - 1

    def _append_payload(self, payload: bytes) -> None:
        with self._lock:
            self._write_chunks([payload])

    def _inner(self) -> Spool:
        """Return the spool for records logged inside a log call, by a signal handler or a finalizer.

        They cannot go into this stream, where the outer call has already claimed its number, and they cannot
        wait, because it is their own thread that they would wait for.
        """
        if self._nested is None:
            self._nested = Spool(
                self.folder,
                segment_bytes=self._segment_bytes,
                limit_bytes=self._limit_bytes,
                durability=self._durability,
                on_full=self._on_full,
            )
        return self._nested

    def _write_chunks(self, payloads: list[bytes]) -> None:
        chunk: list[bytes] = []
        size = 0
        for payload in payloads:
            seq = self._next_seq
            self._next_seq = seq + 1
            chunk.append(frames.frame(seq, payload))
            size += len(chunk[-1])
            if size >= _CHUNK_BYTES:
                self._write_chunk(chunk)
                chunk, size = [], 0
        if chunk:
            self._write_chunk(chunk)

    def _write_chunk(self, chunk: list[bytes]) -> None:
        self._store(b"".join(chunk), self._next_seq - len(chunk), len(chunk))

    def _store(self, data: bytes, first_seq: int, count: int) -> None:
        while not self._write(data, first_seq):
            if self._on_full != "block":
                self._drop(count)
                return
            sleep(_BLOCK_POLL_SECONDS)

    def _write(self, data: bytes, first_seq: int, reserve: int = 0) -> bool:
        """Append ``data`` to the stream; False if there is no room for it, and then nothing of it is left."""
        try:
            if self._fd < 0 or self._segment_size + len(data) > self._segment_bytes:
                self._open_segment(first_seq)
            if not self._has_room(len(data), reserve):
                self._reason = f"the spool reached its limit of {self._limit_bytes} bytes"
                return False
            written = os.write(self._fd, data)
        except OSError as error:
            self._reason = f"{error.strerror} (errno {error.errno})"
            return False
        if written != len(data):
            # Disk full in mid-frame. Left there, the torn frame would cost the reader a search.
            end = os.lseek(self._fd, 0, os.SEEK_CUR)
            os.ftruncate(self._fd, end - written)
            self._reason = "the disk is full"
            return False
        self._segment_size += written
        self._make_durable()
        return True

    def _make_durable(self) -> None:
        if self._durability == "disk":
            os.fdatasync(self._fd)
        elif self._durability == "host" and self._syncer is None:
            self._syncer = threading.Thread(target=_sync_loop, args=(weakref.ref(self),), daemon=True)
            self._syncer.start()

    def _has_room(self, size: int, reserve: int) -> bool:
        limit = self._limit_bytes - RESERVE_BYTES + reserve
        if self._older_bytes + self._segment_size + size <= limit:
            return True
        # The server deletes segments once it has them; only a full spool needs to know how far it got.
        self._older_bytes = self._bytes_on_disk() - self._segment_size
        return self._older_bytes + self._segment_size + size <= limit

    def _bytes_on_disk(self) -> int:
        total = 0
        for path in self.folder.glob(f"{self.stream}-*.spool"):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def _open_segment(self, first_seq: int) -> None:
        self._close_segment()
        path = self.folder / f"{self.stream}-{first_seq:016x}.spool"
        head = frames.header(bytes.fromhex(self.stream), first_seq, time_ns())
        descriptor = os.open(path, _CREATE, 0o600)
        try:
            if os.write(descriptor, head) != len(head):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        self._fd = descriptor
        self._segment_size = len(head)

    def _close_segment(self) -> None:
        if self._fd < 0:
            return
        if self._durability != "process":
            os.fdatasync(self._fd)
        descriptor, self._fd = self._fd, -1
        os.close(descriptor)
        self._older_bytes += self._segment_size
        self._segment_size = 0

    def _drop(self, count: int) -> None:
        if self._on_full == "raise":
            self.dropped += count
            self._unreported += count
            raise SpoolFull(f"{self.folder}: {count} records were not stored: {self._reason}; free some space.")
        if not self.dropped:
            log.warning("%s: metrics are being dropped and counted: %s", self.folder, self._reason)
        self.dropped += count
        self._unreported += count

    def _report_gap(self, reserve: int = 0) -> None:
        """Say in the stream itself how many records are missing before what comes next."""
        payload = encode(Gap(time_ns(), self._unreported, self._reason))
        seq = self._next_seq
        self._next_seq = seq + 1
        if self._write(frames.frame(seq, payload), seq, reserve):
            self._unreported = 0


def _sync_loop(reference: weakref.ref[Spool]) -> None:
    while True:
        sleep(HOST_SYNC_SECONDS)
        spool = reference()
        if spool is None or spool._closed:
            return
        with contextlib.suppress(OSError):  # a full disk is reported by the log calls themselves
            spool.flush()
        del spool


_spools: weakref.WeakSet[Spool] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for spool in list(_spools):
        if spool._fd >= 0:
            os.close(spool._fd)  # the parent's file: two writers would tear each other's frames
            spool._fd = -1
        spool.dropped = 0
        spool._restart()


os.register_at_fork(after_in_child=_after_fork_in_child)
