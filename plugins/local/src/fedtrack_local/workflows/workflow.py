"""Server: the interface for workflows, with the tasks for sites and their answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from fedtrack import RunInfo
from fedtrack.client import FLModel
from fedtrack.job import WEIGHTED
from fedtrack_local.workflows.cross_site_results import CrossSiteResults
from fedtrack_local.workflows.model_selector import ModelSelector
from fedtrack_local.workflows.state import WorkflowState

if TYPE_CHECKING:  # they need numpy, which the description of a job does not
    from fedtrack_local.averaging.partial_average import PartialAverage
    from fedtrack_local.models.model_store import ModelStore

#: FLARE's task names.
TRAIN, VALIDATE, SUBMIT_MODEL = "train", "validate", "submit_model"


@dataclass(frozen=True, slots=True)
class Task:
    """A task for sites.

    Attributes:
        name: ``train``, ``validate`` or ``submit_model``.
        params: The model for the task, or None.
        current_round: Counted from 0 over the job; None outside rounds.
        total_rounds: The number of the job's rounds at the end of the workflow.
        meta: Further values for ``FLModel.meta``.
        timeout: Seconds within which a site must answer; 0 waits as long as the site answers or logs within the job's
            ``idle_timeout``.
        optional: Whether a site may leave the task unanswered. A site that is too late, or whose script continues
            without an answer, is not stopped and gets later tasks. A site that dies has failed, as in any task.
        aggregator: Name of the aggregator for sites whose workers average their results.
        start_round: The workflow's first round.
        needed: Names or patterns of the tensors that an answer must have; a site may leave out all others.
        step: The step under which the server logs the task's metrics; None means ``current_round``.
        max_weight: A site that claims more steps counts as if it had claimed these; 0 stands for no cap.
        max_norm: The largest L2 norm of an update, to which a longer one is shortened; 0 stands for no cap.
    """

    name: str
    params: Mapping[str, Any] | None
    current_round: int | None = None
    total_rounds: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    timeout: float = 0.0
    optional: bool = False
    aggregator: str = WEIGHTED
    start_round: int = 0
    needed: tuple[str, ...] = ("*",)
    step: int | None = None
    max_weight: float = 0.0
    max_norm: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a site.

    Attributes:
        site: The site's name.
        model: The result; ``params`` are read-only arrays mapped from the site's file.
        size: Bytes of parameters that the site sent.
        asked_ns: When the site was given the task, by the server's clock; 0 if that is not known.
        answered_ns: When the server had the answer; 0 if that is not known.
        seconds: How long the site worked on the task; NaN if that is not known.
        ends: By stream of the site, the number of the last record before the answer.
    """

    site: str
    model: FLModel
    size: int
    asked_ns: int = 0
    answered_ns: int = 0
    seconds: float = math.nan
    ends: Mapping[str, int] = field(default_factory=dict)

    def seconds_of(self, site: str) -> float:
        """Return how long a site worked on the task; NaN if that is not known."""
        return self.seconds

    @property
    def sites(self) -> Sequence[str]:
        """The sites whose results are in this answer."""
        return (self.site,)

    @property
    def models(self) -> Mapping[str, FLModel]:
        """The results by site."""
        return {self.site: self.model}


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """The answers of many sites, averaged in their worker.

    Attributes:
        sites: The group, in the order in which the sites were asked; some may have failed.
        models: The answers of the sites that have not failed, without ``params``, in the same order.
        partial: The weighted average of their parameters; None if no parameters were asked for, or none came.
        size: Bytes of parameters that the worker sent.
        asked_ns: When the worker was given the group, by the server's clock; 0 if that is not known.
        answered_ns: When the server had the answer; 0 if that is not known.
        seconds: By site, how long the worker worked for it.
        ends: By stream of the worker, the number of the last record before the answer.
    """

    sites: Sequence[str]
    models: Mapping[str, FLModel]
    partial: PartialAverage | None
    size: int
    asked_ns: int = 0
    answered_ns: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)

    def seconds_of(self, site: str) -> float:
        """Return how long the worker worked for a site; NaN if that is not known."""
        return self.seconds.get(site, math.nan)


class RoundResult(msgspec.Struct, frozen=True):
    """The result of a round.

    Attributes:
        current_round: Counted from 0 over the job.
        metrics: Weighted mean of the sites' metrics of the model that entered the round.
        sites: The sites whose results were averaged.
        seconds: The duration of the round.
        size: Bytes of parameters that server and sites sent to each other.
        steps: The optimizer steps behind the averaged results; None if that is not known.
    """

    current_round: int
    metrics: dict[str, float]
    sites: tuple[str, ...]
    seconds: float
    size: int
    steps: float | None = None


class Server(Protocol):
    """The interface for workflows; an engine provides it.

    Attributes:
        run: The run.
        models: The store of the last and the best global model.
        selector: Selects the best model; None if the job has no selector.
        rounds: The finished rounds, also those before the run was resumed; ``finish_round`` adds to it.
        final_metrics: The sites' metrics of the last model; a workflow sets it.
        first_round: The round with which the current workflow begins, counted from 0 over the job.
        next_round: The first round that is not finished yet, counted from 0 over the job.
        state: The workflow's own stored value, for a resumed run.
        cross_site: The current workflow's results of cross-site evaluation; the workflow fills it.
        cross_site_file: The JSON file for those results; None if the job has no such file.
    """

    run: RunInfo
    models: ModelStore
    selector: ModelSelector | None
    rounds: list[RoundResult]
    final_metrics: dict[str, float]
    first_round: int
    next_round: int
    state: WorkflowState
    cross_site: CrossSiteResults
    cross_site_file: Path | None

    def sites(self) -> list[str]:
        """Return the sites that are alive, in the job's order."""

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[Answer | GroupAnswer]:
        """Send ``task`` to ``sites`` and yield their answers as they come.

        Workers answer for groups of sites. The groups depend on ``sites`` alone, so that sums over groups are the same
        in every run.

        A site that dies or is too late is reported and yields nothing. For a site that leaves an optional task
        unanswered there is only a warning.

        Raises:
            JobError: Too few sites are left.
        """

    def reject(self, site: str, error: Exception) -> None:
        """Treat a site's answer as a failure of that site.

        Raises:
            JobError: Too few sites are left.
        """

    def initial_params(self) -> Mapping[str, Any] | None:
        """Return the model that the workflow goes on from.

        This is the last model that was saved, by this workflow, by one before it or before the run was resumed.
        Without one it is the job's initial model, or None if sites begin with their own.
        """

    def own_folder(self, name: str) -> Path:
        """Return the folder ``name`` in the run's results, which exists perhaps not yet.

        If an earlier workflow of the same class uses that name, the current workflow's id is at its end.
        """

    def finish_round(self, result: RoundResult) -> None:
        """Store the result of a round, also for the summary of a run that is resumed later."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Log the server's own metrics, as the site ``server``."""

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call a life-cycle hook of every plugin."""
