"""Doubles: receivers and record logs in memory, for tests of delivery and of writers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any, ClassVar

from fedtrack.errors import Permanent, Transient
from fedtrack.testing.stored import Stored
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, ReceiverOptions, Results, RunInfo
from fedtrack.tracking.records import (
    KINDS,
    AnyRecord,
    Artifact,
    Control,
    Histogram,
    Image,
    Metric,
    Param,
    Record,
    Tag,
    Text,
    decode,
    encode,
)


@dataclass
class MemoryStore:
    """A backend that ends with the process.

    Attributes:
        stored: The stored records, oldest first.
        seen: Site, stream and sequence number of each stored record.
    """

    stored: list[Stored] = field(default_factory=list)
    seen: set[tuple[str, str, int]] = field(default_factory=set)


#: The store of each run, by the run's folder, so that a second receiver of the run finds the first one's.
_stores: dict[Path, MemoryStore] = {}


def memory_store(folder: Path) -> MemoryStore:
    """Return the store that the MemoryReceivers of a run share; ``folder`` is the run's folder."""
    return _stores.setdefault(folder, MemoryStore())


class MemoryReceiver(Receiver):
    """Keeps records of every kind in a list.

    Attributes:
        calls: The calls so far, such as ``"open"``, ``"receive"``, ``"close completed"``.
    """

    name = "memory"
    summary = "Keeps records in a list, for tests."
    supports = frozenset(KINDS.values())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[str] = []
        self._store = MemoryStore()
        self._blobs: BlobStore | None = None

    @property
    def stored(self) -> list[Stored]:
        """The records in the run's store, oldest first."""
        return self._store.stored

    def open(self, run: RunInfo) -> None:
        """Adopt the run's store."""
        self.calls.append("open")
        self._store = memory_store(run.folder)
        self._blobs = run.blobs

    def receive(self, batch: Batch) -> None:
        """Store the records that are not in the store yet."""
        self.calls.append("receive")
        for seq, record in zip(batch.seqs, batch.records, strict=True):
            self._keep(batch, seq, record)

    def flush(self) -> None:
        """Count the call: nothing is buffered."""
        self.calls.append("flush")

    def close(self, status: str) -> None:
        """Remember how the run ended."""
        self.calls.append(f"close {status}")

    def results(self) -> Results:
        """Return a location that says that there is nothing to open."""
        return Results("memory")

    def _keep(self, batch: Batch, seq: int, record: Record) -> None:
        assert self._blobs is not None, "receive was called before open"  # noqa: S101
        place = (batch.site, batch.stream, seq)
        if place not in self._store.seen:
            self._store.stored.append(_stored(batch.site, record, self._blobs))
            self._store.seen.add(place)


class FaultyOptions(ReceiverOptions):
    """The faults of a FaultyReceiver.

    Attributes:
        open_transient: How many calls of ``open`` raise Transient before the first one succeeds.
        transient: How many calls of ``receive`` raise Transient, each after it has stored half of its batch.
        errors: How many calls of ``receive``, after those, raise RuntimeError.
        permanent: Keys that are refused for good; a batch's other records are stored.
        names_indices: Whether Permanent says which records are refused; if not, nothing of the batch is stored.
        delay_seconds: How long each call of ``receive`` takes.
        hangs: Whether ``receive`` waits until ``release`` is set.
    """

    open_transient: int = 0
    transient: int = 0
    errors: int = 0
    permanent: list[str] = []
    names_indices: bool = True
    delay_seconds: float = 0.0
    hangs: bool = False


class FaultyReceiver(MemoryReceiver):
    """A MemoryReceiver whose backend fails as its options say.

    Attributes:
        hanging: Set while a call of ``receive`` hangs, and afterwards.
        release: Set it to let hanging calls go on.
    """

    name = "faulty"
    summary = "Fails as its options say, for tests."
    Options: ClassVar[type[ReceiverOptions]] = FaultyOptions
    options: FaultyOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hanging = threading.Event()
        self.release = threading.Event()
        self._receives = 0

    def open(self, run: RunInfo) -> None:
        """Adopt the run's store, or fail."""
        if self.calls.count("open") < self.options.open_transient:
            self.calls.append("open")
            raise Transient("the backend cannot be reached (scripted)")
        super().open(run)

    def receive(self, batch: Batch) -> None:
        """Store the records that are not in the store yet, or fail."""
        self._receives += 1
        self._wait()
        if self._receives <= self.options.transient:
            half = len(batch.records) // 2
            super().receive(Batch(batch.site, batch.stream, batch.seqs[:half], batch.records[:half]))
            raise Transient("the connection broke in mid-batch (scripted)")
        if self._receives <= self.options.transient + self.options.errors:
            raise RuntimeError("an error of no class that delivery knows (scripted)")
        refused = [i for i, record in enumerate(batch.records) if _key(record) in self.options.permanent]
        if refused and not self.options.names_indices:
            raise Permanent("the backend refuses something in the batch (scripted)")
        kept = [i for i in range(len(batch.records)) if i not in refused]
        super().receive(
            Batch(batch.site, batch.stream, [batch.seqs[i] for i in kept], [batch.records[i] for i in kept])
        )
        if refused:
            raise Permanent("the backend refuses these keys (scripted)", refused)

    def _wait(self) -> None:
        sleep(self.options.delay_seconds)
        if self.options.hangs:
            self.hanging.set()
            self.release.wait()


class MemoryLog:
    """The destination of a writer's records in a test: a list instead of a spool.

    Records are encoded and decoded, so that a record that a spool could not hold fails here as well.

    Args:
        folder: The folder for large values.
    """

    def __init__(self, folder: Path) -> None:
        self.records: list[AnyRecord | Control] = []
        self.blobs = BlobStore(folder)

    def append(self, record: Record) -> None:
        """Store one record."""
        self.records.append(decode(encode(record)))

    def extend(self, records: Iterable[Record]) -> None:
        """Store several records: all of them or, if one cannot be encoded, none."""
        self.records.extend([decode(encode(record)) for record in records])


def run_info(
    folder: Path,
    *,
    run_id: str = "test-run",
    job_name: str = "test job",
    node: str = "server",
    sites: Iterable[str] = ("site-1", "site-2"),
    started_ns: int = 1_700_000_000_000_000_000,
) -> RunInfo:
    """Return a run whose results go to ``folder``, which is created, and whose blobs lie beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    blobs = BlobStore(folder.parent / f"{folder.name}-blobs")
    return RunInfo(run_id, job_name, folder, node, tuple(sites), started_ns, blobs)


def _key(record: Record) -> str:
    return record.path if isinstance(record, Artifact) else getattr(record, "key", "")


def _stored(site: str, record: Record, blobs: BlobStore) -> Stored:
    step = getattr(record, "step", None)
    return Stored(site, _key(record), _value(record, blobs), step, record.time_ns, type(record))


def _value(record: Record, blobs: BlobStore) -> Any:
    match record:
        case Metric() | Param() | Tag():
            return record.value
        case Text():
            return blobs.read_text(record.text)
        case Image() | Artifact():
            return blobs.read(record.data)
        case Histogram():
            return record.edges, record.counts
    raise TypeError(f"{type(record).__name__} is no kind that a receiver supports")
