"""Nodes: the processes of the simulation. Each runs the real classes of fedtrack, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from simulation.backend import Backend, ModelReceiver
from simulation.clock import Clock
from simulation.disk import Process
from simulation.protocol import Trace

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Cursor, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.spool.base import PythonSpoolBase
from fedtrack.spool.counts import read_counts
from fedtrack.spool.spool import MIN_LIMIT_BYTES, Durability, Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.writer import Writer
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.intake import Intake
from fedtrack.transport.shipper import SpoolShipper
from fedtrack.transport.spool_source import SpoolSource
from fedtrack.transport.wire import Bye, Frames, decode_ack, decode_from_site

RUN = "run-1"


class PythonSpool(Spool):
    """A spool whose writes are seen by the simulation: those of the compiled twin are system calls in C."""

    append_metric = PythonSpoolBase.append_metric
    append_metrics = PythonSpoolBase.append_metrics


class TracedJournal(Journal):
    """A journal whose commits are messages."""

    trace: Trace

    def apply_all(self, *arguments: Any, **options: Any) -> dict[tuple[str, str], int]:
        """Store, then say so."""
        marks = super().apply_all(*arguments, **options)
        self.trace.committed(marks)
        return marks


class TracedLedger(Ledger):
    """A ledger whose progress is a message."""

    trace: Trace

    def advance(self, receiver: str, cursor: Cursor, *arguments: Any, **options: Any) -> None:
        """Say so, then store: it must be true before the first byte is on the disk."""
        self.trace.advanced(receiver)
        super().advance(receiver, cursor, *arguments, **options)


class Site:
    """A training process: a spool and a writer."""

    def __init__(self, folder: Path, durability: Durability, segment_bytes: int) -> None:
        self.process = Process(f"site {folder.parent.parent.name}")
        self._arguments: dict[str, Any] = {
            "durability": durability,
            "segment_bytes": segment_bytes,
            "limit_bytes": MIN_LIMIT_BYTES,
        }
        self.folder = folder
        self.spool = PythonSpool(folder, **self._arguments)
        self.writer = Writer(self.spool)


class Server:
    """A server: a journal, and the way into it."""

    def __init__(self, folder: Path, clock: Clock, trace: Trace, process: Process) -> None:
        self.process = process
        self.journal = TracedJournal(folder / "journal.db")
        self.journal.trace = trace
        self.journal.set_meta("run_id", RUN)
        self.journal.set_meta("job_name", "simulation")
        self.blobs = BlobStore(folder / "blobs")
        self.intake = Intake(RUN, self.journal, self.blobs)
        self.forwarder = Forwarder(clock=clock.monotonic)
        self._trace = trace

    def read_from(self, spools: Mapping[str, Path]) -> None:
        """Read the spools of sites on this machine."""
        for site, spool in spools.items():
            self.forwarder.add(SpoolSource(site, spool, self.journal, self.blobs, read_bytes=256))

    def answer(self, site: str, data: bytes) -> bytes:
        """Answer a message that came over the network."""
        answer = self.intake.handle(site, data)
        message, ack = decode_from_site(data), decode_ack.decode(answer)
        if isinstance(message, Frames) and ack.verdict in ("stored", "duplicate"):
            self._trace.acknowledged(site, message.stream, ack.stored_upto)
        return answer

    def close(self) -> None:
        """End in order."""
        self.intake.close()
        self.journal.close()


class Agent:
    """The process beside a training that ships its spool."""

    def __init__(self, folder: Path, call: Callable[[Any], Any], clock: Clock, process: Process) -> None:
        self.process = process
        self._folder = folder
        self.shipper = SpoolShipper(folder, RUN, call, clock=clock.monotonic)

    def end(self, logged: int | None, deadline: float) -> None:
        """Say goodbye when everything is sent."""

        def bye(final: dict[str, int]) -> Bye:
            counts = read_counts(self._folder, final)
            known = [one for one in counts.values() if one is not None]
            return Bye(
                RUN,
                final,
                logged,
                sum(one.dropped for one in known),
                withheld=sum(one.withheld for one in known),
                rejected=sum(one.rejected for one in known),
                counts=counts,
            )

        self.shipper.end(bye, deadline)


class Deliverer:
    """The process that feeds the receivers; it only reads the journal."""

    def __init__(
        self,
        folder: Path,
        backends: Iterable[Backend],
        sites: tuple[str, ...],
        clock: Clock,
        trace: Trace,
        process: Process,
    ) -> None:
        self.process = process
        self.journal = Journal(folder / "journal.db", read_only=True)
        self.ledger = TracedLedger(folder / LEDGER_FILE, self.journal)
        self.ledger.trace = trace
        run = RunInfo(RUN, "simulation", folder, "server", sites, 0, BlobStore(folder / "blobs"))
        self.deliveries = []
        for backend in backends:
            trace.connected(backend.name)
            receiver = ModelReceiver(backend, trace)
            self.deliveries.append(
                Delivery(backend.name, receiver, self.journal, self.ledger, run, clock=clock.monotonic)
            )

    def close(self) -> None:
        """End in order."""
        self.ledger.close()
        self.journal.close()
