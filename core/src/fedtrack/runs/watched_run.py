"""WatchedRun: a run as somebody sees it who looks again and again, from the files that its server writes anyway."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import NamedTuple

import msgspec

from fedtrack.errors import FedtrackError
from fedtrack.runs.run_state import RunView, view
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.tally import Tally
from fedtrack.tracking.records import Metric, decode

#: The newest batches of a journal that are read at the first look, and the most bytes that one look reads.
_FIRST_BATCHES, _MOST_BYTES = 1_000, 64 * 1024 * 1024


class Sight(NamedTuple):
    """What one look shows.

    Attributes:
        view: The state and the progress.
        tally: The counts of each site and receiver; None if they cannot be read at this moment.
        metrics: The last value of each metric by site; the metric that came last is the last one.
    """

    view: RunView
    tally: Tally | None
    metrics: dict[str, dict[str, float]]


class WatchedRun:
    """Reads only what has been added to the journals since the last look.

    Of a long run, the first look reads the newest batches only: a site that has logged nothing since then has no last
    values. Nothing of the run is changed or waited for.

    Args:
        run: The run.
    """

    def __init__(self, run: StoredRun) -> None:
        self._run = run
        self._read_to: dict[str, int] = {}
        self._metrics: dict[str, dict[str, float]] = {}

    def look(self) -> Sight:
        """Return how the run is now."""
        found = view(self._run)  # first: what is counted later is not less
        tally = None
        with suppress(FedtrackError, sqlite3.Error):
            tally = tally_of(self._run)
        for node in self._run.journaling_nodes():
            with suppress(FedtrackError, sqlite3.Error):
                self._read(node)
        return Sight(found, tally, self._metrics)

    def _read(self, node: str) -> None:
        with self._run.journal(node) as journal:
            after = self._read_to.get(node)
            if after is None:
                after = max(0, journal.last_batch() - _FIRST_BATCHES)
            left = _MOST_BYTES
            while left > 0 and (batches := journal.read(after)):
                for batch in batches:
                    left -= len(batch.body)
                    for _, payload in batch.events():
                        self._note(batch.site, payload)
                after = batches[-1].id
                self._read_to[node] = after

    def _note(self, site: str, payload: memoryview) -> None:
        try:
            record = decode(payload)
        except msgspec.DecodeError:  # of a kind that only a newer version knows
            return
        if isinstance(record, Metric):
            values = self._metrics.setdefault(site, {})
            values.pop(record.key, None)
            values[record.key] = record.value
