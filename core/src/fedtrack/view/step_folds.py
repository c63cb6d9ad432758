"""StepFolds: metrics of a federation that names no rounds, compared by step."""

from __future__ import annotations

from collections.abc import Iterator
from time import time_ns

from fedtrack.journal.batches import StoredBatch
from fedtrack.tracking.records import Record
from fedtrack.view.points import band_of
from fedtrack.view.site_values import metrics_of
from fedtrack.view.view_state import ViewState

#: How many steps wait for the slowest site; of more, the oldest are given up.
_MOST_OPEN = 10_000
#: After this many steps, only every second one is written, and so on.
_MOST_STEPS = 1000


class StepFolds:
    """The open steps; a step is complete when every known site has logged a later one.

    Args:
        state: The view's state; ``step``, ``stride`` and ``steps`` are brought up to date.

    Attributes:
        first: The id of the first batch of an open step; None if there is none.
    """

    def __init__(self, state: ViewState) -> None:
        self._state = state
        self._open: dict[int, tuple[int, dict[str, dict[str, float]]]] = {}
        self._at: dict[str, int] = {}

    @property
    def first(self) -> int | None:
        """The id of the first batch that is about an open step."""
        return min((batch for batch, _ in self._open.values()), default=None)

    def take(self, batch: StoredBatch, *, is_new: bool) -> None:
        """Take the metrics of one batch into account."""
        state, at = self._state, self._at.get(batch.site, -1)
        for record in metrics_of(batch):
            step = record.step
            if step is None or step < 0:
                continue
            at = max(at, step)
            if step <= state.step:
                state.late += is_new
            elif step % state.stride == 0:
                values = self._open.setdefault(step, (batch.id, {}))[1]
                values.setdefault(record.key, {})[batch.site] = record.value
        if at >= 0:
            self._at[batch.site] = at

    def due(self, now: float, *, completed: bool) -> Iterator[list[Record]]:
        """Yield the records of each complete step, oldest first; ``state`` is then that behind them."""
        passed = min(self._at.values(), default=-1) if len(self._at) > 1 else -1
        for step in sorted(self._open):
            if step >= passed and not completed and len(self._open) <= _MOST_OPEN:
                return
            _, metrics = self._open.pop(step)
            self._state.step = step
            if step % self._state.stride:
                continue
            records = [
                record
                for key in sorted(metrics)
                if len(metrics[key]) > 1
                for record in band_of(key, metrics[key], {}, step, time_ns())
            ]
            if records:
                self._count()
                yield records

    def _count(self) -> None:
        self._state.steps += 1
        if self._state.steps >= _MOST_STEPS:
            self._state.steps, self._state.stride = 0, self._state.stride * 2
