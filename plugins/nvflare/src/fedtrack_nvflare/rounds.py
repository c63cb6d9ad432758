"""Rounds: the server's own view of FLARE's FedAvg: model files, the best model, and metrics per round."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import numpy as np

from fedtrack.federated.model_selector import ModelSelector
from fedtrack.federated.params import load_params
from fedtrack.federated.persistor import ModelPersistor
from fedtrack.job.components import IntimeModelSelector
from fedtrack.job.config import Meta
from fedtrack.job.run_result import RoundSummary
from fedtrack.plugins import registry
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.spool import Spool
from fedtrack.tracking.writer import Writer

_ROUNDS_FILE = "rounds.json"


class Rounds:
    """Keeps what a run's rounds bring, in the run's folder.

    Args:
        run: The run.
        selector: Decides which model is the best, if anything does.
        meta: Says what the server's own log calls survive.
    """

    def __init__(self, run: RunInfo, selector: IntimeModelSelector | None, meta: Meta) -> None:
        self.spool = Spool(run.folder / "spool", durability=meta.durability, limit_bytes=meta.spool_limit)
        self._run = run
        self._writer = Writer(self.spool)
        self._persistor = ModelPersistor(run.folder / "app_server")
        self._selector = ModelSelector(selector.key_metric, selector.key_metric_mode) if selector else None
        self._file = run.folder / _ROUNDS_FILE
        self.rounds: list[RoundSummary] = (
            msgspec.json.decode(self._file.read_bytes(), type=list[RoundSummary]) if self._file.exists() else []
        )
        self._params: dict[str, Any] | None = None
        self._current = 0
        self._sites: list[str] = []
        self._started = monotonic()

    @property
    def best_round(self) -> int | None:
        """How many rounds had been trained when the best model was found."""
        return self._selector.best_round if self._selector else None

    @property
    def logged(self) -> int:
        """How many of the server's own log calls are in its spool."""
        return self.spool.stored

    def initial_params(self, file: Path | None) -> dict[str, Any]:
        """Return the model of round 0, as arrays that may be written to; empty if every site begins with its own."""
        if file is None:
            return {}
        self._params = {name: np.array(array) for name, array in load_params(file).items()}
        return self._params

    def begin(self, current_round: int) -> None:
        """Note that a round begins."""
        self._current, self._sites, self._started = current_round, [], monotonic()
        self._notify("fedtrack_round_started", current_round=current_round)

    def accept(self, site: str) -> None:
        """Note that a site's result went into the average."""
        self._sites.append(site)

    def scored(self, metrics: Mapping[str, Any] | None) -> None:
        """Take the sites' metrics of the model that entered the round."""
        plain = {name: float(value) for name, value in (metrics or {}).items() if isinstance(value, int | float)}
        if self._params and self._selector is not None and self._selector.observe(self._current, plain):
            self._persistor.save_best(self._params, self._current, plain)
        summary = RoundSummary(
            self._current, dict(plain), sorted(self._sites), monotonic() - self._started, self._bytes()
        )
        self.rounds.append(summary)
        temporary = self._file.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(self.rounds))
        temporary.replace(self._file)
        own = {
            "round/seconds": summary.seconds,
            "round/bytes": float(summary.bytes),
            "round/sites": float(len(self._sites)),
        }
        self._writer.record_metrics(plain | own, self._current)
        self._notify("fedtrack_round_ended", current_round=self._current, metrics=plain)

    def save(self, params: Mapping[str, Any], current_round: int) -> None:
        """Keep the model that a round made."""
        if not self.rounds or self.rounds[-1].current_round != current_round:
            self._current = current_round
            self.scored(None)  # FLARE before 2.9 does not say when it has averaged
        self._params = dict(params)
        self._persistor.save(self._params, current_round)

    def _bytes(self) -> int:
        size = sum(int(getattr(array, "nbytes", 0)) for array in (self._params or {}).values())
        return 2 * size * len(self._sites)

    def _notify(self, hook: str, **arguments: object) -> None:
        registry().notify(hook, run=self._run, **arguments)
