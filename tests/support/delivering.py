"""A receiver that a test controls, and a journal to deliver from."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.delivery.report import ReceiverTally
from fedtrack.errors import Permanent
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, Results, RunInfo
from fedtrack.tracking.records import Metric, Record, encode

STREAM = "ab" * 16


Fault = Callable[["Scripted", Batch], None]


class Scripted(Receiver):
    """Keeps what it is given, and does before what the test says."""

    name = "scripted"
    summary = "A double."
    supports = frozenset({Metric})
    gather_seconds = 0.0

    def __init__(self, fault: Fault | None = None) -> None:
        super().__init__()
        self.fault = fault
        self.calls = 0
        self.log: list[Any] = []
        self.got: list[float] = []
        self.opening: list[BaseException] = []
        self.flushing: list[BaseException] = []

    def open(self, run: RunInfo) -> None:
        self.log.append("open")
        if self.opening:
            raise self.opening.pop(0)

    def receive(self, batch: Batch) -> None:
        self.calls += 1
        if self.fault is not None:
            self.fault(self, batch)
        self.got += [record.value for record in batch.records if isinstance(record, Metric)]

    def flush(self) -> None:
        self.log.append("flush")
        if self.flushing:
            raise self.flushing.pop(0)

    def close(self, status: str) -> None:
        self.log.append(("close", status))

    def results(self) -> Results | None:
        return Results("here")


class Bench:
    """A journal and the deliveries from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder / "journal.db")
        self.ledger = Ledger(folder / LEDGER_FILE, self.journal)
        self.run = RunInfo("r1", "job", folder, "server", ("a",), 0, BlobStore(folder / "blobs"))
        self.next_seq = 1

    def log(self, *records: Record | bytes | float, site: str = "a") -> None:
        payloads = []
        for record in records:
            plain = Metric(1, "loss", float(record)) if isinstance(record, int | float) else record
            payloads.append(plain if isinstance(plain, bytes) else encode(plain))
        salt, first = frames.salt_of(STREAM), self.next_seq
        self.next_seq += len(payloads)
        body = b"".join(frames.frame(first + index, payload, salt) for index, payload in enumerate(payloads))
        self.journal.apply(site, STREAM, [FrameRange(first, self.next_seq - 1, len(payloads), body)])

    def close(self) -> None:
        self.ledger.close()
        self.journal.close()

    def delivery(self, receiver: Receiver, name: str = "r", **options: Any) -> Delivery:
        return Delivery(name, receiver, self.journal, self.ledger, self.run, **{"backoff_seconds": 0.001} | options)

    def deliver(self, receiver: Receiver, stall_seconds: float = 10, **options: Any) -> ReceiverTally:
        """Deliver everything there is and report."""
        delivery = self.delivery(receiver, **options)
        delivery.start()
        delivery.drain("completed")
        return delivery.finish(stall_seconds)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def poison(*values: float, error: Callable[[], BaseException] = lambda: Permanent("no")) -> Fault:
    """Return a fault that refuses every batch with one of ``values`` in it."""

    def refuse(_: Scripted, batch: Batch) -> None:
        if any(record.value in values for record in batch.records if isinstance(record, Metric)):
            raise error()

    return refuse


def always(error: Exception) -> Fault:
    """Return a fault that raises ``error`` whatever comes."""

    def fail(*_: object) -> None:
        raise error

    return fail
