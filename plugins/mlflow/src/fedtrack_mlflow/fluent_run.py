"""Objects that MLflow's functions return, for scripts that read them: a run, an experiment, a logged model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass
class Info:
    """The fields of ``mlflow.entities.RunInfo`` that scripts read.

    Attributes:
        run_id: fedtrack's id of the run; MLflow's own id exists only where the receiver is.
    """

    run_id: str
    run_name: str
    experiment_id: str = "0"
    status: str = "RUNNING"
    start_time: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    end_time: int | None = None
    artifact_uri: str = ""
    lifecycle_stage: str = "active"
    user_id: str = ""

    @property
    def run_uuid(self) -> str:
        """The older name of ``run_id``."""
        return self.run_id


@dataclass
class Data:
    """The fields of ``mlflow.entities.RunData``; empty, because a site does not read its records back."""

    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class FluentRun:
    """What ``start_run()`` returns: a context manager that changes nothing, because the job owns the site's run.

    Args:
        info: The run's fields.
        leave: Called with the status when a ``with`` block ends.
    """

    def __init__(self, info: Info, leave: Callable[[str], None]) -> None:
        self.info = info
        self.data = Data()
        self._leave = leave

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave("FINISHED" if kind is None else "FAILED")


@dataclass
class Experiment:
    """The fields of ``mlflow.entities.Experiment`` that scripts read."""

    name: str
    experiment_id: str = "0"
    artifact_location: str = ""
    lifecycle_stage: str = "active"
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class LoggedModel:
    """The fields that scripts read of what ``log_model`` returns."""

    model_uri: str
    artifact_path: str
    run_id: str
    model_id: str | None = None
    name: str = ""
    registered_model_version: int | None = None


class Done:
    """What a call with ``synchronous=False`` returns: the record is stored already, so there is nothing to wait for."""

    def wait(self) -> None:
        """Return at once."""


DONE = Done()
