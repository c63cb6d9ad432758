"""Laws: the base of all laws, with the declarations of the receiver's author and the helpers that drive a receiver."""

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
        idempotent: Whether the backend stores a record that is delivered twice only once. Declare False for a
            backend that cannot recognise a redelivery; the laws then only require that nothing is lost.
        survives_kill: Whether flushed records survive SIGKILL. False only if the backend is this process.
        time_resolution_ns: The resolution of the backend's wall time, nanoseconds; None if it keeps no time.
        relative_error: The largest relative error of a stored metric: 0 for float64, ``2**-24`` for float32.
        law_seconds: How long one law may take. A receiver that hangs fails the law, with the place where it hangs.

    Attributes:
        run: The run of the law that is being checked; ``read`` may need its id to find it on a shared server.
    """

    idempotent: ClassVar[bool] = True
    survives_kill: ClassVar[bool] = True
    time_resolution_ns: ClassVar[int | None] = 1
    relative_error: ClassVar[float] = 0.0
    law_seconds: ClassVar[float] = 120.0

    run: RunInfo

    @abstractmethod
    def make_receiver(self) -> Receiver:
        """Return a new receiver, with the same options each time."""

    @abstractmethod
    def read(self, folder: Path) -> list[Stored]:
        """Return the content of the backend's real store for the run, each series in the order in which it is shown.

        Args:
            folder: ``run.folder``, which has the receiver's files.
        """

    def make_unreachable_receiver(self) -> Receiver | None:
        """Return a receiver whose backend does not answer (a closed port, for example); None if that is impossible."""
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
        """Return the stored things of one kind and site; with ``key``, only those of that key."""
        found = self.read(self.run.folder)
        return [s for s in found if s.kind is kind and s.site == site and key in (None, s.key)]

    def values(self, key: str, kind: type[Record] = Metric, site: str = SITE) -> list[object]:
        """Return the stored values of one series, in order."""
        return [s.value for s in self.stored(kind, site, key)]

    def needs(self, *kinds: type[Record]) -> None:
        """Skip the law if the receiver does not support these kinds."""
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
