"""Spool: the append-only files of a process's records, with one system call per record.

When ``append`` returns, the record is in the page cache and survives the death of the process. Each incarnation
of a process writes a stream of its own (128 random bits) and never appends to a file that another one wrote,
because SIGKILL can tear a single ``write``.

One class, longer than others here: numbering, writing, room, reporting and forking share one lock and one file
descriptor. Their assumptions about each other are easier to check in one place.
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
from time import monotonic, sleep, time_ns
from typing import Literal, TypedDict

from fedtrack.errors import ConfigError, FedtrackError, WorkspaceError
from fedtrack.policy.gate import Gate
from fedtrack.spool import frames
from fedtrack.spool.base import SpoolBase
from fedtrack.spool.counter_page import Extent
from fedtrack.spool.frames import frame
from fedtrack.spool.gated import GatedCalls
from fedtrack.spool.identity import IDENTITY_FILE, SpoolIdentity, write_identity
from fedtrack.spool.segments import create_segment, sync_folder
from fedtrack.spool.stream_counts import StreamCounts
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import Control, Gap, Record, Rejected, RoundMark, encode, kind_of

log = logging.getLogger(__name__)

#: "process": survives the death of the process. "host": at most 0.5 s are lost when the power fails.
#: "disk": nothing is lost when the power fails; every log call waits for the disk.
Durability = Literal["process", "host", "disk"]

#: The treatment of a record if the disk or the spool's limit is full.
OnFull = Literal["drop", "block", "raise"]

#: Kept free below the limit, so that there is always room for a gap record.
RESERVE_BYTES = 64 * 1024

DEFAULT_LIMIT_BYTES = 1024 * 1024 * 1024
MIN_LIMIT_BYTES = 2 * RESERVE_BYTES

HOST_SYNC_SECONDS = 0.5
_POLL_SECONDS = 0.05
_CHUNK_BYTES = 256 * 1024


def check_options(*, durability: str, limit_bytes: int, on_full: str = "drop") -> None:
    """Check the arguments of a spool.

    Raises:
        ConfigError: A value is not valid; the message names the valid ones.
    """
    if durability not in ("process", "host", "disk"):
        raise ConfigError(f"durability is {durability!r}; valid are 'process', 'host' and 'disk'.")
    if on_full not in ("drop", "block", "raise"):
        raise ConfigError(f"on_full is {on_full!r}; valid are 'drop', 'block' and 'raise'.")
    if limit_bytes < MIN_LIMIT_BYTES:
        raise ConfigError(f"The spool limit (limit_bytes) is {limit_bytes}; a spool needs at least {MIN_LIMIT_BYTES}.")


class SpoolFull(FedtrackError):  # noqa: N818 - the state, not a fault of the program
    """The disk or the spool's limit is full and the spool was created with ``on_full="raise"``."""


class Spool(SpoolBase):
    """One stream of records on disk; safe to use from any thread, signal handler or forked child.

    Args:
        folder: The folder of the segments; created 0700.
        segment_bytes: The most bytes of a segment; before it would grow larger, a new one is started.
        limit_bytes: The most bytes of this stream's segments that are not delivered; at least 128 KiB.
        durability: See ``Durability``.
        on_full: See ``OnFull``; dropped records are counted, and reported in gap records.
        identity: The run and the site of the records, for a file in the folder; None writes no such file.
        gate: The gate of the site's policy; None stores every record as it was logged.

    Attributes:
        gate: The gate of the site's policy, or None.
        blobs: The store of the large values of this spool's records.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 4 * 1024 * 1024,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        durability: Durability = "process",
        on_full: OnFull = "drop",
        identity: SpoolIdentity | None = None,
        gate: Gate | None = None,
    ) -> None:
        check_options(durability=durability, limit_bytes=limit_bytes, on_full=on_full)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        if identity is not None and not (folder / IDENTITY_FILE).exists():
            with contextlib.suppress(WorkspaceError):  # a full disk, which the log calls report
                write_identity(folder, identity)
        self.blobs = BlobStore(folder / "blobs", durable=durability != "process")
        self._options: _Options = {
            "segment_bytes": segment_bytes,
            "limit_bytes": limit_bytes,
            "durability": durability,
            "on_full": on_full,
            "gate": gate,
        }
        self.gate = gate
        # Only finished segments are deleted: one as large as the limit could never be.
        self._segment_bytes = min(segment_bytes, limit_bytes // 4)
        self._limit_bytes = limit_bytes
        self._durability = durability
        self._on_full = on_full
        self._encode = encode
        self._prefix = b""
        self._fd = -1
        # Reentrant: a signal handler may log while its own thread is inside append().
        self._lock = threading.RLock()
        self._writing = False
        self._next_seq = 1
        self._round: int | None = None
        self._begin_stream()
        if gate is not None:
            self._pass_gate(gate)
        _spools.add(self)

    def _pass_gate(self, gate: Gate) -> None:
        """Let the fast path, which writers look up once, go through the gate."""
        gated = GatedCalls(self, gate, self.append_metric, self.append_metrics, self._extend)
        self.append_metric = gated.append_metric  # type: ignore[method-assign]
        self.append_metrics = gated.append_metrics  # type: ignore[method-assign]

    def _begin_stream(self) -> None:
        self.stream = os.urandom(16).hex()
        self._salt = frames.salt_of(self.stream)
        self._nested: Spool | None = None
        self._previous: frames.Link | None = None
        self._first_seq = 0
        self._segment_size = 0
        self._plain_until = 0
        self._torn = False
        self._older_bytes = 0
        self._look_again = 0.0
        self._holes = 0
        self._said: int | None = None
        self._counts = StreamCounts(self.folder, self.stream, waits=self._durability == "disk")
        self._unreported = 0
        self._report_at = 1
        self._reason = ""
        self._syncer: threading.Thread | None = None
        self._sync_failed = False

    def append(self, record: Record) -> None:
        """Store one record; when this returns, it survives the death of the process.

        Without room the record is dropped and counted, unless ``on_full`` says otherwise.

        Raises:
            SpoolFull: Only with ``on_full="raise"``.
        """
        if self.gate is not None:
            self.extend([record])
            return
        payload = self._encode(record)
        if len(payload) > frames.MAX_PAYLOAD:
            record = _refusal(record, len(payload))
            payload = self._encode(record)
        with self._lock:
            if self._writing:
                self._inner().append(record)
                return
            self._writing = True
            try:
                if (self._write_plain(payload) or self._store([payload])) and type(record) is Rejected:
                    self._counts.add(rejected=1)
            finally:
                self._writing = False

    def extend(self, records: Iterable[Record]) -> None:
        """Store several records with a write per 256 KiB; each write stores all of its records or, without room, none.

        Raises:
            SpoolFull: Only with ``on_full="raise"``.
        """
        records = list(records)
        if self.gate is not None:
            logged, records = records, self._released(records)
            if len(records) < len(logged):
                self.count_withheld(len(logged) - len(records))
        if records:
            self._extend(records)

    def _extend(self, records: list[Record]) -> None:
        """Store records of which the gate has released everything."""
        payloads = [self._encode(record) for record in records]
        for index, payload in enumerate(payloads):
            if len(payload) > frames.MAX_PAYLOAD:
                records[index] = _refusal(records[index], len(payload))
                payloads[index] = self._encode(records[index])
        with self._lock:
            if self._writing:
                self._inner()._extend(records)
                return
            self._writing = True
            try:
                self._store_all(payloads, [type(record) is Rejected for record in records])
            finally:
                self._writing = False

    def note(self, record: Control) -> bool:
        """Store a control record, which is no event and is never counted; return False if there is no room for it."""
        gate = self._gate_here()
        if gate is not None and not gate.allows_note(record):
            return False
        payload = self._encode(record)
        if len(payload) > frames.MAX_PAYLOAD:
            return False
        with self._lock:
            if self._writing:
                return self._inner().note(record)
            self._writing = True
            try:
                if not self._write([payload]):
                    return False
                self._holes += 1
            finally:
                self._writing = False
        return True

    @property
    def position(self) -> tuple[str, int]:
        """The stream, and the number of its last record; 0 if there is none. A nested stream is not included."""
        return self.stream, self._next_seq - 1

    def mark_round(self, round: int | None) -> None:
        """Assign all following records, of any thread, to this round.

        The mark of the round is written together with the next record, so that there is room for both or for none. So
        no record is ever counted in the round before.

        Args:
            round: Counted from 0; None outside rounds. Invalid values count as None.
        """
        known = round if isinstance(round, int) and 0 <= round <= frames.MAX_SEQ else None
        with self._lock:
            self._round = known
            if self._nested is not None:
                self._nested.mark_round(known)
            if not self._writing:
                self._set_plain()
            elif self._said != known:
                self._plain_until = 0  # this is a signal handler, and the interrupted call must write the mark first

    def judged(self, key: str, value: float) -> float | None:
        """Return what the site's policy releases of a metric, and note that; None if it is withheld."""
        with self._lock:
            gate = self._gate_here()
            return value if gate is None else gate.metric(key, value, None, self._round)

    def withholds(self, kind: type[Record], key: object) -> bool:
        """Return whether the site's policy keeps a record of this kind and key; if so, the call is counted.

        For writers: what is withheld needs not be built, and no part of it reaches the disk.
        """
        gate = self._gate_here()
        if gate is None or not isinstance(key, str) or gate.allows(kind, str.__str__(key)):
            return False
        self.count_withheld(1)
        return True

    def _gate_here(self) -> Gate | None:
        """Return the gate for what the calling code logs."""
        return self.gate

    def _released(self, records: list[Record]) -> list[Record]:
        with self._lock:
            gate, found = self._gate_here(), []
            for record in records:
                kept = record if gate is None else gate.release(record, self._round)
                if kept is not None:
                    found.append(kept)
            return found

    def count_withheld(self, count: int) -> None:
        """Count log calls that the site's policy keeps at the site."""
        with self._lock:
            if self._writing:
                self._inner().count_withheld(count)
                return
            self._writing = True
            try:
                self._counts.add(withheld=count)
            finally:
                self._writing = False

    def flush(self) -> None:
        """Make everything stored so far survive the loss of power.

        Raises:
            OSError: The data cannot be written to the disk.
        """
        with self._lock:
            if self._nested is not None:
                self._nested.flush()
            self._counts.sync()
            if self._fd < 0:
                return
            descriptor = os.dup(self._fd)
        try:
            os.fdatasync(descriptor)  # without the lock: no log call waits for the disk
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Report the dropped records and close the file; a later append starts a new segment."""
        with self._lock:
            if self._nested is not None:
                self._nested.close()
            if self._writing:
                return  # called by a signal handler inside a log call, which continues when the handler returns
            self._writing = True
            try:
                if self._unreported:
                    self._report_gap(RESERVE_BYTES)
                self._close_segment()
                self._counts.close()
                self._syncer = None
            finally:
                self._writing = False

    @property
    def streams(self) -> list[str]:
        """The streams that ``stored`` counts."""
        return [self.stream, *(self._nested.streams if self._nested is not None else [])]

    @property
    def stored(self) -> int:
        """How many records of this process the spool has; fedtrack's own records in it are not counted."""
        nested = self._nested.stored if self._nested is not None else 0
        return self._stored_here + nested

    @property
    def _stored_here(self) -> int:
        return self._next_seq - 1 - self._holes

    @property
    def counts(self) -> Counts:
        """The log calls that became no event, in the streams that ``stored`` counts."""
        own = self._counts.now
        if self._nested is None:
            return own
        nested = self._nested.counts
        return Counts(own.dropped + nested.dropped, own.withheld + nested.withheld, own.rejected + nested.rejected)

    @property
    def dropped(self) -> int:
        """How many records were dropped so far."""
        return self.counts.dropped

    def _inner(self) -> Spool:
        """Return the spool for records logged inside a log call, by a signal handler or a finalizer.

        They cannot go into this stream, because the outer call has already claimed its number. They cannot wait
        either, because they would wait for their own thread.
        """
        if self._nested is None:
            self._nested = type(self)(self.folder, **self._options)
            self._nested._round = self._round
        return self._nested

    def _store_all(self, payloads: list[bytes], rejected: list[bool]) -> None:
        """Store payloads; ``rejected`` tells which of them are rejected calls."""
        chunk: list[bytes] = []
        size = 0
        full: SpoolFull | None = None
        for index, payload in enumerate(payloads, start=1):
            chunk.append(payload)
            size += frames.FRAME_SIZE + len(payload)
            if size >= _CHUNK_BYTES or index == len(payloads):
                try:
                    if self._store(chunk) and (count := sum(rejected[index - len(chunk) : index])):
                        self._counts.add(rejected=count)
                except SpoolFull as error:
                    full = error  # the other chunks are nevertheless tried and counted
                chunk, size = [], 0
        if full is not None:
            raise full

    def _store(self, payloads: list[bytes]) -> bool:
        """Store the payloads, or count them as dropped; return whether they were stored."""
        while not self._write(payloads):
            if self._on_full != "block":
                self._drop(len(payloads))
                return False
            sleep(_POLL_SECONDS)
        if self._unreported:
            self._report_gap()
            self._report_at = self._counts.now.dropped + 1
        return True

    def _write_plain(self, payload: bytes) -> bool:
        """Append a payload to the open segment if a write is all that is needed; see ``append_metric``."""
        salt, seq = self._salt, self._next_seq
        size = self._segment_size + frames.FRAME_SIZE + len(payload)
        if size > self._plain_until:
            return False
        self._next_seq = seq + 1
        data = frame(seq, payload, salt)
        if self._salt != salt:
            return True  # a child that was forked inside this call, which the parent completes
        try:
            written = os.write(self._fd, data)
        except OSError:
            written = 0
        if written == len(data):
            self._segment_size = size
            return True
        self._holes += 1
        if written:
            self._take_back(written)
        return False

    def _write(self, logged: list[bytes], reserve: int = 0) -> bool:
        """Append payloads, behind a mark of their round if one is needed; return False if there is no room for all."""
        salt, round_ = self._salt, self._round
        payloads = logged if self._said == round_ else self._marked(logged, round_)
        size = sum(map(len, payloads)) + frames.FRAME_SIZE * len(payloads)
        if not self._has_room(size, reserve):
            self._reason = f"the spool reached its limit of {self._limit_bytes} bytes"
            return False
        try:
            if self._fd < 0 or self._torn or self._segment_size + size > self._segment_bytes:
                self._open_segment()
                payloads = logged if self._said == round_ else self._marked(logged, round_)
            first, count = self._next_seq, len(payloads)
            # The numbers are claimed before the write, and are holes until then; see append_metric, the fast path.
            self._next_seq = first + count
            self._holes += count
            data = b"".join([frame(seq, payload, salt) for seq, payload in enumerate(payloads, start=first)])
            if self._salt != salt:
                return True  # a child that was forked inside this call, which the parent completes
            written = os.write(self._fd, data)
            if written != len(data):
                self._take_back(written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._reason = f"{error.strerror} (errno {error.errno})"
            return False
        self._segment_size += written
        self._holes -= len(logged)
        if payloads is not logged:
            self._note_said(round_)
            self._set_plain()
        if self._durability != "process":
            self._make_durable()
        return True

    def _marked(self, payloads: list[bytes], round: int | None) -> list[bytes]:
        return [self._encode(RoundMark(time_ns(), round)), *payloads]

    def _note_said(self, round: int | None) -> None:
        """Remember the last round that is marked in this segment."""
        self._said = round

    def _header_round(self) -> int | None:
        """Return the round for the header of a new segment."""
        return self._round

    def _take_back(self, written: int) -> None:
        """Remove the torn frame that a full disk left, because the reader would have to search behind it."""
        try:
            os.ftruncate(self._fd, os.lseek(self._fd, 0, os.SEEK_CUR) - written)
        except OSError:
            self._torn = True  # the next record goes into a new file
            self._plain_until = 0

    def _make_durable(self) -> None:
        if self._durability == "disk":
            self._sync()
        elif self._syncer is None:
            syncer = threading.Thread(target=_sync_loop, args=(weakref.ref(self),), daemon=True)
            try:
                syncer.start()
                self._syncer = syncer
                self._set_plain()
            except RuntimeError:  # an exit handler logs, and the interpreter starts no thread any more
                self._sync()

    def _sync(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # The record is stored, but may not survive a loss of power. Training continues.
            if not self._sync_failed:
                log.error("%s: the disk does not confirm what is written: %s", self.folder, error.strerror)
            self._sync_failed = True

    def _has_room(self, size: int, reserve: int) -> bool:
        limit = self._limit_bytes - RESERVE_BYTES + reserve
        if self._older_bytes + self._segment_size + size <= limit:
            return True
        now = monotonic()
        if now < self._look_again:
            return False  # a full spool must not make each log call list a folder
        self._look_again = now + _POLL_SECONDS
        # The server deletes segments when it has them; only a full spool needs to look how many are left.
        self._older_bytes = self._bytes_on_disk() - self._segment_size
        return self._older_bytes + self._segment_size + size <= limit

    def _bytes_on_disk(self) -> int:
        total = 0
        for path in self.folder.glob(f"{self.stream}-*.spool"):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def _open_segment(self) -> None:
        self._close_segment()
        self._counts.open()  # first, so that every segment has a page
        stream, round_ = self.stream, self._header_round()
        first_seq, previous = self._next_seq, self._previous
        descriptor = create_segment(
            self.folder, stream, first_seq, continues=previous is not None, round=round_, previous=previous
        )
        if stream != self.stream:  # a child that was forked in here
            os.close(descriptor)
            return
        self._fd = descriptor
        self._first_seq = first_seq
        self._segment_size = frames.HEADER_SIZE if previous is None else frames.LINKED_HEADER_SIZE
        self._counts.reach(Extent(first_seq, 0, self._stored_here))
        self._said = round_
        self._set_plain()
        if self._durability != "process":
            with contextlib.suppress(OSError):
                self._counts.sync()
            sync_folder(self.folder)

    def _set_plain(self) -> None:
        # With "disk" each call waits for the disk. With "host" a thread does that, and it must exist.
        waits = self._durability != "process" and self._syncer is None
        if self._fd < 0 or self._unreported or waits or self._said != self._round:
            self._plain_until = 0
        else:
            room = self._limit_bytes - RESERVE_BYTES - self._older_bytes
            self._plain_until = min(self._segment_bytes, room)

    def _close_segment(self) -> None:
        if self._fd < 0:
            return
        if self._durability != "process":
            self._sync()
        descriptor, self._fd = self._fd, -1
        os.close(descriptor)
        self._previous = frames.Link(self._first_seq, self._segment_size)
        self._counts.reach(Extent(self._first_seq, self._segment_size, self._stored_here))
        self._older_bytes += self._segment_size
        self._segment_size = 0
        self._plain_until = 0
        self._torn = False

    def _drop(self, count: int) -> None:
        before = self._counts.now.dropped
        if not before:
            log.warning("%s: metrics are being dropped and counted: %s", self.folder, self._reason)
        self._counts.add(dropped=count)
        self._unreported += count
        self._plain_until = 0
        if before + count >= self._report_at:
            # Reported at 1, 2, 4, 8, ... records, from the reserve, for readers that know no page: if the process is
            # killed before there is room again, the report has at least half of the count.
            self._report_at = 2 * (before + count)
            self._report_gap(RESERVE_BYTES)
        if self._on_full == "raise":
            raise SpoolFull(f"{self.folder}: {count} records were not stored: {self._reason}; free some space.")

    def _report_gap(self, reserve: int = 0) -> None:
        """Store a gap record with the number of records dropped since the last one."""
        if self._write([encode(Gap(time_ns(), self._unreported, self._reason))], reserve):
            self._holes += 1
            self._unreported = 0
            self._set_plain()

    def _after_fork(self) -> None:
        """Begin a new stream for this child: two writers of one file would tear each other's frames."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._counts.close()
        if self._lock.acquire(blocking=False):
            self._lock.release()  # it was free, or this thread forked inside a log call, which will continue
        else:
            self._lock, self._writing = threading.RLock(), False  # its holder does not exist in this process
        if not self._writing:
            self._next_seq = 1
        self._begin_stream()
        self._holes = self._next_seq - 1


class _Options(TypedDict):
    segment_bytes: int
    limit_bytes: int
    durability: Durability
    on_full: OnFull
    gate: Gate | None


def _refusal(record: Record, size: int) -> Rejected:
    reason = f"the {kind_of(record)} takes {size:,} bytes, more than {frames.MAX_PAYLOAD:,}"
    key = str(getattr(record, "key", getattr(record, "path", "")))
    return Rejected(record.time_ns, key[:100], reason)


def _sync_loop(reference: weakref.ref[Spool]) -> None:
    while True:
        sleep(HOST_SYNC_SECONDS)
        spool = reference()
        if spool is None or spool._syncer is not threading.current_thread():
            return
        with contextlib.suppress(OSError):  # a full disk is reported by the log calls themselves
            spool.flush()
        del spool


_spools: weakref.WeakSet[Spool] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for spool in list(_spools):
        spool._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
