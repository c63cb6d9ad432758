"""FedtrackLogger: Lightning's Logger, whose metrics go to fedtrack."""

from __future__ import annotations

import contextlib
import os
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any, Literal

from fedtrack import ConnectedRun
from fedtrack.client import get_job_id, get_site_name
from fedtrack.errors import ConfigError
from fedtrack.tracking import MediaWriter
from fedtrack_lightning.library import Logger, rank_zero_only


class FedtrackLogger(Logger):  # type: ignore[misc]
    """Logs what a LightningModule logs: ``Trainer(logger=FedtrackLogger())``.

    It works in a federated job, with ``fedtrack.connect``, and in a script that no job runs. The Trainer calls ``save``
    and ``finalize`` often; both are free, because a metric is on disk when its log call returns.

    Args:
        name: The name of Lightning's folder of checkpoints; None means the run's id or name, or ``fedtrack``.
        version: The folder below; None means the site's name, or the time outside of a federation.
        prefix: Put before the name of each metric, as ``prefix/name``.
        writer: Makes ``experiment``, which scripts use for images and the like, such as
            ``fedtrack.client.tracking.SummaryWriter``.
        run: What ``fedtrack.connect`` returned; None means the one of this thread, the job's or the script's own.
        steps: ``"continue"`` makes one ascending count of steps that begin again in each round, as those of a new
            Trainer do.
    """

    def __init__(
        self,
        name: str | None = None,
        version: str | None = None,
        *,
        prefix: str = "",
        writer: Callable[[], MediaWriter] = MediaWriter,
        run: ConnectedRun | None = None,
        steps: Literal["continue"] | None = None,
    ) -> None:
        super().__init__()
        place = _place(run)
        self._name = place[0] if name is None else name
        self._version = place[1] if version is None else version
        self._prefix = f"{prefix}/" if prefix else ""
        self._make = writer
        self._run = run
        self._steps = steps
        self._writer: Any = None

    @property
    def name(self) -> str:
        """The name of the folder of checkpoints."""
        return self._name

    @property
    def version(self) -> str:
        """The folder below it."""
        return self._version

    @property
    def experiment(self) -> Any:
        """The writer. On another rank than 0 its calls do nothing, as with Lightning's own loggers."""
        if rank_zero_only.rank > 0:
            return _Nothing()
        if self._writer is None:
            with contextlib.nullcontext() if self._run is None else self._run.bound():
                self._writer = self._make()
            if self._steps == "continue":
                self._writer.continue_steps()
        return self._writer

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log the metrics of one step."""
        found = {f"{self._prefix}{key}": value for key, value in metrics.items()} if self._prefix else metrics
        self.experiment.record_metrics(found, step)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace, metrics: Mapping[str, Any] | None = None, *_: Any, **__: Any
    ) -> None:
        """Log hyperparameters, nested ones as ``outer/inner``; and ``metrics``, as TensorBoardLogger takes them."""
        self.experiment.record_params(params)
        if metrics:
            self.log_metrics(metrics)

    def save(self) -> None:
        """Do nothing: the Trainer calls this after every log, and everything is on disk already."""

    def finalize(self, status: str) -> None:
        """Do nothing: the fit of one round ends here, and the run goes on."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the writer: a process that Lightning starts opens a stream of its own."""
        return self.__dict__ | {"_writer": None, "_run": None}


class _Nothing:
    """Takes every call, and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def _place(run: ConnectedRun | None) -> tuple[str, str]:
    """Return a folder for checkpoints that no other site and no other script shares."""
    if run is not None:
        return run.name, run.site
    try:
        return get_job_id(), get_site_name()
    except ConfigError:
        return "fedtrack", f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{os.getpid()}"
