"""Rounds: the server's own view of FLARE's FedAvg: model files, the best model, and metrics per round."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import numpy as np

from fedtrack import RunInfo, Writer
from fedtrack.client import FLModel, MetaKey
from fedtrack.errors import ModelError
from fedtrack.files import write_whole
from fedtrack.job import IntimeModelSelector, Meta
from fedtrack.plugins import registry
from fedtrack.runs import RoundSummary
from fedtrack.spool import Spool, SpoolIdentity
from fedtrack.tracking.records import TaskRecord
from fedtrack_local import (
    Answer,
    ModelSelector,
    ModelStore,
    Task,
    TaskReport,
    finite,
    load_params,
    round_metrics,
    weight_of,
    weighted_metrics,
)

log = logging.getLogger(__name__)

_ROUNDS_FILE = "rounds.json"


class Rounds:
    """Stores the results of a run's rounds, in the run's folder.

    Args:
        run: The run.
        selector: Selects the best model; None selects none.
        meta: The job's settings for the server's own spool.
    """

    def __init__(self, run: RunInfo, selector: IntimeModelSelector | None, meta: Meta) -> None:
        self.spool = Spool(
            run.folder / "spool",
            durability=meta.durability,
            limit_bytes=meta.spool_limit,
            identity=SpoolIdentity(run.run_id, run.node),
        )
        self._run = run
        self._writer = Writer(self.spool)
        if selector is not None:
            self._writer.record_direction(selector.key_metric, "higher" if selector.mode == "max" else "lower")
        self._models = ModelStore(run.folder / "app_server")
        self._selector = ModelSelector(selector.key_metric, selector.mode) if selector else None
        self._file = run.folder / _ROUNDS_FILE
        self.rounds: list[RoundSummary] = (
            msgspec.json.decode(self._file.read_bytes(), type=list[RoundSummary]) if self._file.exists() else []
        )
        self._params: dict[str, Any] | None = None
        self._current = 0
        self._sites: list[str] = []
        self._scored: list[tuple[float, Mapping[str, Any]]] = []
        self._report: TaskReport | None = None
        self._lock = threading.Lock()
        self._started = monotonic()

    @property
    def best_round(self) -> int | None:
        """How many rounds had been trained when the best model was found."""
        return self._selector.best_round if self._selector else None

    def initial_params(self, file: Path | None) -> dict[str, Any]:
        """Return the model of round 0, as arrays that may be written to; empty if every site begins with its own."""
        if file is None:
            return {}
        self._params = {name: np.array(array) for name, array in load_params(file).items()}
        return self._params

    def begin(self, current_round: int) -> None:
        """Record that a round begins."""
        self._current, self._sites, self._scored, self._started = current_round, [], [], monotonic()
        self.spool.mark_round(current_round)
        # FLARE's channel carries the answers, and its sites' records come on another one: no ends are known.
        self._report = TaskReport(Task("train", self._params, current_round), (), forwarded=False)
        self._notify("fedtrack_round_started", current_round=current_round)

    def ask(self, site: str) -> None:
        """Record that a site has got the round's task."""
        report = self._report
        if report is not None:
            with self._lock:  # FLARE answers its sites in several threads
                self._note(report.ask(site))

    def accept(self, site: str, metrics: object, meta: Mapping[str, Any], size: int = 0) -> None:
        """Record that a site's result is in the average, with its metrics of the model that entered the round."""
        self._sites.append(site)
        try:
            weight = weight_of(meta)
        except ModelError:
            weight = 1.0  # FLARE's FedAvg uses this if a result's weight is not valid
        found = metrics if isinstance(metrics, Mapping) else {}
        self._scored.append((weight, found))
        if self._report is not None:
            plain = {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}
            model = FLModel(metrics=plain, meta={MetaKey.NUM_STEPS_CURRENT_ROUND: weight})
            self.ask(site)  # FLARE before 2.4 does not report it
            self._report.take(Answer(site, model, size))

    def save(self, params: Mapping[str, Any], current_round: int) -> None:
        """End a round: store its model, and the sites' metrics of the model that entered it."""
        self._current = current_round
        if self._report is not None:
            self._note(self._report.ended({}))
            self._report = None
        # Averaged here, because FLARE before 2.9 does not report its average.
        self._score(weighted_metrics(self._scored))
        self._params = dict(params)
        self._models.save(self._params, current_round)

    def _score(self, metrics: Mapping[str, float]) -> None:
        if self._params and self._selector is not None and self._selector.observe(self._current, metrics):
            self._models.save_best(self._params, self._current, metrics)
        summary = RoundSummary(
            self._current,
            finite(metrics),
            sorted(self._sites),
            seconds=monotonic() - self._started,
            bytes=self._bytes(),
            steps=sum(weight for weight, _ in self._scored),
        )
        self.rounds.append(summary)
        write_whole(self._file, msgspec.json.encode(self.rounds))
        self._writer.record_metrics(dict(metrics) | round_metrics(summary), self._current)
        self._notify("fedtrack_round_ended", current_round=self._current, metrics=metrics)

    def _note(self, records: Iterable[TaskRecord]) -> None:
        for record in records:
            if not self.spool.note(record):
                log.warning("the disk has no room for the server's record of round %s", record.round)

    def _bytes(self) -> int:
        size = sum(int(getattr(array, "nbytes", 0)) for array in (self._params or {}).values())
        return 2 * size * len(self._sites)

    def _notify(self, hook: str, **arguments: object) -> None:
        registry().notify(hook, run=self._run, **arguments)
