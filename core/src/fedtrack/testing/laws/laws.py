"""Laws: what the author of a receiver declares, and how a law drives the receiver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest

from fedtrack.errors import Transient
from fedtrack.testing.doubles import run_info
from fedtrack.testing.stored import Stored
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric, Record

SITE = "site-1"
STREAM = "0123456789abcdef" * 2
OTHER_STREAM = "fedcba9876543210" * 2

#: Times of logged records: distinct, ascending, and not whole seconds or milliseconds.
TIME_NS = 1_700_000_000_123_456_789
TIME_STEP_NS = 1_250_000_001

_ATTEMPTS = 5


class Laws(ABC):
    """Base of the groups of laws.

    Class attributes:
        idempotent: Whether a record that is delivered again is not stored again. Declare False for a backend
            that cannot tell; the laws then only ask that nothing is lost.
        survives_kill: Whether what was flushed survives SIGKILL. False only if the backend is this process.
        time_resolution_ns: How coarse the backend's wall time is, in nanoseconds; None if it keeps none.
        relative_error: How far a stored metric may be off: 0 for float64, ``2**-24`` for float32.

    Attributes:
        run: The run of the law that is being checked; ``read`` may need its id to find it on a shared server.
    """

    idempotent: ClassVar[bool] = True
    survives_kill: ClassVar[bool] = True
    time_resolution_ns: ClassVar[int | None] = 1
    relative_error: ClassVar[float] = 0.0

    run: RunInfo

    @abstractmethod
    def make_receiver(self) -> Receiver:
        """Return a new receiver, with the same options each time."""

    @abstractmethod
    def read(self, folder: Path) -> list[Stored]:
        """Return what the backend's real store holds for the run, each series in the order it is shown in.

        Args:
            folder: ``run.folder``, where a receiver's files are.
        """

    def make_unreachable_receiver(self) -> Receiver | None:
        """Return a receiver whose backend does not answer (a closed port, say); None if there is no such thing."""
        return None

    @pytest.fixture(autouse=True)
    def _fresh_run(self, tmp_path: Path) -> None:
        self.run = run_info(tmp_path / "results" / "run", run_id=f"law-{uuid4().hex[:16]}", sites=(SITE, "site-2"))

    @contextmanager
    def opened(self) -> Iterator[Receiver]:
        """Open a new receiver for the run; flush and close it at the end, as delivery does."""
        receiver = self.make_receiver()
        try:
            _persist(lambda: receiver.open(self.run))
            yield receiver
            _persist(receiver.flush)
        finally:
            receiver.close("completed")

    def deliver(self, *batches: Batch) -> None:
        """Hand the batches to a new receiver, from ``open`` to ``close``."""
        with self.opened() as receiver:
            for batch in batches:
                receive(receiver, batch)

    def stored(self, kind: type[Record] = Metric, site: str = SITE, key: str | None = None) -> list[Stored]:
        """Return what is in the store of one kind from one site, under one key or under any."""
        found = self.read(self.run.folder)
        return [s for s in found if s.kind is kind and s.site == site and key in (None, s.key)]

    def values(self, key: str, kind: type[Record] = Metric, site: str = SITE) -> list[object]:
        """Return the stored values of one series, in order."""
        return [s.value for s in self.stored(kind, site, key)]

    def needs(self, *kinds: type[Record]) -> None:
        """Skip the law if the receiver does not support the kinds that it is about."""
        for kind in kinds:
            if kind not in self.make_receiver().supports:
                pytest.skip(f"{type(self.make_receiver()).__name__} does not support {kind.__name__}")


def receive(receiver: Receiver, batch: Batch) -> None:
    """Call ``receive`` as delivery does: again, if it raises Transient."""
    _persist(lambda: receiver.receive(batch))


def batch(records: Sequence[Record], first: int = 0, site: str = SITE, stream: str = STREAM) -> Batch:
    """Return a batch whose records are numbered from ``first``."""
    return Batch(site, stream, range(first, first + len(records)), records)


def series(key: str, values: Sequence[float], first_step: int = 0) -> list[Metric]:
    """Return metrics of one key with ascending steps and times."""
    return [
        Metric(TIME_NS + step * TIME_STEP_NS, key, value, step) for step, value in enumerate(values, start=first_step)
    ]


def _persist(call: Callable[[], None]) -> None:
    for _ in range(_ATTEMPTS - 1):
        try:
            return call()
        except Transient:
            continue
    return call()
