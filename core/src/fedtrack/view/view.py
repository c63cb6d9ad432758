"""View: folds the batches of a journal into rounds, and says which rounds are complete; it has no clock and no file."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from time import time_ns
from typing import NamedTuple

import msgspec

from fedtrack.journal.batches import StoredBatch
from fedtrack.spool import frames
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.records import Record, TaskRecord, decode, number_of
from fedtrack.view.options import ViewOptions
from fedtrack.view.points import points_of
from fedtrack.view.round_fold import RoundFold
from fedtrack.view.site_values import directions_of, take_metrics
from fedtrack.view.step_folds import StepFolds
from fedtrack.view.view_state import ViewState

_TASK = 34
_MAY_HOLD_TASK = frames.kinds_pattern((_TASK,))


class Emission(NamedTuple):
    """The records of one round, and the state of the view behind them.

    Attributes:
        records: The records; may be empty.
        round: The round that they belong to; None outside rounds.
        state: What is stored in the same transaction.
    """

    records: list[Record]
    round: int | None
    state: ViewState


class View:
    """Takes batches in the order of the journal; used by one thread only.

    Args:
        state: Where an earlier process has stopped; the first batch is the one behind ``state.mark``.
        options: How it is computed.
        sites: The sites of the run, if somebody has named them.
    """

    def __init__(self, state: ViewState, options: ViewOptions, sites: Sequence[str] = ()) -> None:
        self.state = state
        self._options = options
        self._sites = tuple(sites)
        self._folds: dict[tuple[bool, int], RoundFold] = {}
        self._at: dict[str, int] = {}
        self._left: set[str] = set()
        self._last_of: dict[str, int] = {}
        self._has_tasks = False
        self._read = state.mark
        self._steps = StepFolds(state) if options.by_step else None

    def take(self, batch: StoredBatch, now: float) -> None:
        """Take one batch into account.

        Args:
            batch: The next batch of the journal.
            now: Seconds of any clock that never runs back.
        """
        is_new = batch.id > self.state.seen
        self._read = batch.id
        self.state.seen = max(self.state.seen, batch.id)
        if batch.stream == self.state.stream or batch.site.startswith("@"):
            return
        if batch.site == SERVER:
            self._take_server(batch, now)
            return
        for said in directions_of(batch):
            self.state.better[said.key] = said.better
        self._left.discard(batch.site)
        self._last_of[batch.stream] = max(batch.last, self._last_of.get(batch.stream, 0))
        if batch.round is None:
            if self._steps is not None and not self._at:
                self._steps.take(batch, is_new=is_new)
            return
        self._steps = None  # there are rounds: what was logged before the first one belongs to none
        self._at[batch.site] = max(batch.round, self._at.get(batch.site, -1))
        if self.state.has_round(batch.round):
            self.state.late += batch.count if is_new else 0
            return
        fold = self._fold(False, batch.round, batch.id)
        take_metrics(batch, fold.values.setdefault(batch.site, {}), self._options.mode)

    def leave(self, site: str) -> None:
        """Note that a site has said goodbye: it will not come to a later round."""
        self._left.add(site)

    def due(self, now: float, *, over: bool = False, completed: bool = False) -> list[Emission]:
        """Return the rounds that are complete, oldest first, and forget them.

        Args:
            now: Seconds of the clock of ``take``.
            over: Whether nothing more will arrive in this process.
            completed: Whether nothing more will ever arrive.
        """
        found: list[Emission] = []
        for key in sorted(self._folds, key=lambda one: (one[1], one[0])):
            fold = self._folds[key]
            if self._is_complete(fold, now) or (over and (fold.ended is not None or completed)):
                del self._folds[key]
                found.append(self._emission(fold))
        if self._steps is not None and not self._at:
            for records in self._steps.due(now, completed=completed):
                self.state.mark = self._mark()
                found.append(Emission(records, None, copy.deepcopy(self.state)))
        self.state.mark = self._mark()
        return found

    def _take_server(self, batch: StoredBatch, now: float) -> None:
        for said in directions_of(batch):
            self.state.better[said.key] = said.better
        if not _MAY_HOLD_TASK.search(batch.body):
            if batch.count:
                self._close()
            return
        for _, payload in frames.split(batch.body):
            number = number_of(payload)
            if number == _TASK:
                try:
                    record = decode(payload)
                except msgspec.DecodeError:
                    continue
                if isinstance(record, TaskRecord):
                    self._take_task(record, batch.id, now)
            elif number < 32:
                self._close()

    def _take_task(self, record: TaskRecord, batch: int, now: float) -> None:
        self._has_tasks = True
        final = record.round is None
        number = record.step if final else record.round
        if number is None or number < 0:
            return  # its answers are of no round and of no step
        if (number in self.state.finals) if final else self.state.has_round(number):
            return
        self._fold(final, number, batch).take_task(record, now)

    def _close(self) -> None:
        """Note that the server has gone on: it logs what a round has given only when its average is made."""
        for fold in self._folds.values():
            fold.closed = fold.closed or fold.ended is not None

    def _fold(self, final: bool, number: int, batch: int) -> RoundFold:
        return self._folds.setdefault((final, number), RoundFold(number, final, batch))

    def _is_complete(self, fold: RoundFold, now: float) -> bool:
        if fold.parts:
            if fold.ended is None:
                return False
            if fold.closed and self._is_all_here(fold):
                return True
            return now - fold.ended >= self._options.settle_seconds
        ahead = [site for site, number in self._at.items() if number > fold.number]
        if fold.passed is None and (ahead or self._left >= fold.values.keys()):
            fold.passed = now
        if fold.passed is None:
            return False
        behind = [site for site in self._at if self._at[site] <= fold.number and site not in self._left]
        if not self._has_tasks and not behind and len(self._at) > 1:
            return True
        return now - fold.passed >= self._options.patience_seconds

    def _is_all_here(self, fold: RoundFold) -> bool:
        """Return whether the records that the sites had logged when they answered are in the journal."""
        if fold.ends:
            return all(self._last_of.get(stream, 0) >= last for stream, last in fold.ends.items() if last)
        return fold.final or all(
            self._at.get(site, -1) > fold.number or site in self._left
            for site, part in fold.parts.items()
            if part.is_valid
        )

    def _emission(self, fold: RoundFold) -> Emission:
        records = points_of(fold, self.state, self._options.mode, self._sites, time_ns())
        if fold.final:
            self.state.finals.append(fold.number)
        else:
            self.state.add_round(fold.number)
        self.state.mark = self._mark()
        return Emission(records, None if fold.final else fold.number, copy.deepcopy(self.state))

    def _mark(self) -> int:
        """Return the id of the last batch that needs not be read again."""
        firsts = [fold.first for fold in self._folds.values()]
        if self._steps is not None and self._steps.first is not None:
            firsts.append(self._steps.first)
        return min(firsts, default=self._read + 1) - 1
