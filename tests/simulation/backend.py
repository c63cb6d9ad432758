"""Backend: what a receiver of the simulation feeds; it survives its receiver and keeps what was flushed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulation.protocol import Trace

from fedtrack.errors import Permanent, Transient
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric, Text


@dataclass
class Backend:
    """A backend.

    Attributes:
        name: Its name.
        refuses: It refuses each metric whose number is a multiple of this; 0 for none.
        mood: ``up``, ``down``, or ``strange``: then it raises what no receiver should raise.
        kept: What was flushed: (site, stream, number of the record), in the order of arrival.
        metrics: Those that it was ever given and that are metrics.
        strange: Whether it was ever strange: then any event may have become a dead letter.
    """

    name: str
    refuses: int = 0
    mood: str = "up"
    kept: list[tuple[str, str, int]] = field(default_factory=list)
    metrics: set[tuple[str, str, int]] = field(default_factory=set)
    strange: bool = False

    def poisoned(self, record: object) -> bool:
        """Return whether it refuses a record for good."""
        return bool(self.refuses and isinstance(record, Metric) and int(record.value) % self.refuses == 0)

    def check(self) -> None:
        """Raise what a backend that does not work raises."""
        if self.mood == "down":
            raise Transient("the backend is down")
        if self.mood == "strange":
            self.strange = True
            raise RuntimeError("the backend answers nonsense")


class ModelReceiver(Receiver):
    """A receiver of one backend, with a buffer of its own."""

    name = "model"
    summary = "A receiver of the simulation."
    supports = frozenset({Metric, Text})
    gather_seconds = 0.0
    max_records = 3

    def __init__(self, backend: Backend, trace: Trace) -> None:
        super().__init__()
        self._backend = backend
        self._trace = trace
        self._buffer: list[tuple[str, str, int]] = []

    def open(self, run: RunInfo) -> None:
        """Reach the backend."""
        self._backend.check()

    def receive(self, batch: Batch) -> None:
        """Take records into the buffer, or refuse them."""
        self._backend.check()
        bad = [index for index, record in enumerate(batch.records) if self._backend.poisoned(record)]
        if bad:
            raise Permanent("refused", bad if len(batch.records) % 2 else None)
        taken = [(batch.site, batch.stream, seq) for seq in batch.seqs]
        self._backend.metrics |= {
            event for event, record in zip(taken, batch.records, strict=True) if isinstance(record, Metric)
        }
        self._trace.received(self._backend.name, taken)
        self._buffer += taken

    def flush(self) -> None:
        """Make the buffer safe."""
        self._backend.check()
        self._backend.kept += self._buffer
        self._trace.flushed(self._backend.name)
        self._buffer.clear()

    def count(self, sites: Sequence[str]) -> dict[str, int]:
        """Return how many different metrics the backend has."""
        found = self._backend.metrics.intersection(self._backend.kept)
        return {name: sum(site == name for site, _, _ in found) for name in sites}
