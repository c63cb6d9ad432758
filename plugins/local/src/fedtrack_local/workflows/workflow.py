"""What a workflow can use while it runs: the server, the tasks that it sends, and the answers that come."""

from __future__ import annotations

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

if TYPE_CHECKING:  # they need numpy, which describing a job does not
    from fedtrack_local.averaging.partial_average import PartialAverage
    from fedtrack_local.models.model_store import ModelStore

#: FLARE's task names.
TRAIN, VALIDATE, SUBMIT_MODEL = "train", "validate", "submit_model"


@dataclass(frozen=True, slots=True)
class Task:
    """What every asked site is asked to do.

    Attributes:
        name: ``train``, ``validate`` or ``submit_model``.
        params: The model that goes with it, or None.
        current_round: Counted from 0; None outside rounds.
        total_rounds: How many rounds the job has.
        meta: Sent along in ``FLModel.meta``.
        timeout: Seconds within which a site must answer; 0 waits as long as the site gives a sign of life.
        optional: Whether a site may leave the task unanswered: one that is too late, or whose script goes on without
            an answer, is left alone and gets later tasks. One that dies has failed, as in any task.
        aggregator: Name of what averages the results of sites whose processes average them.
    """

    name: str
    params: Mapping[str, Any] | None
    current_round: int | None = None
    total_rounds: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    timeout: float = 0.0
    optional: bool = False
    aggregator: str = WEIGHTED


@dataclass(frozen=True, slots=True)
class Answer:
    """What a site answered.

    Attributes:
        site: Its name.
        model: The result; ``params`` are read-only arrays mapped from the site's file.
        size: Bytes of parameters that crossed from the site.
    """

    site: str
    model: FLModel
    size: int

    @property
    def sites(self) -> Sequence[str]:
        """The sites that this answers for."""
        return (self.site,)

    @property
    def models(self) -> Mapping[str, FLModel]:
        """The results by site."""
        return {self.site: self.model}


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """What many sites answered, averaged where they were trained.

    Attributes:
        sites: The group, in the order in which the sites were asked; some may have failed.
        models: What each of the others answered, without ``params``, in the same order.
        partial: The weighted average of their parameters; None if no parameters were asked for, or none came.
        size: Bytes of parameters that crossed.
    """

    sites: Sequence[str]
    models: Mapping[str, FLModel]
    partial: PartialAverage | None
    size: int


class RoundResult(msgspec.Struct, frozen=True):
    """What a round brought.

    Attributes:
        current_round: Counted from 0.
        metrics: Weighted mean of the sites' metrics of the model that entered the round.
        sites: The sites whose results were averaged.
        seconds: How long the round took.
        size: Bytes of parameters that crossed between server and sites, both ways.
        steps: The optimizer steps behind the results that were averaged; None if that is not known.
    """

    current_round: int
    metrics: dict[str, float]
    sites: tuple[str, ...]
    seconds: float
    size: int
    steps: float | None = None


class Server(Protocol):
    """What a workflow can use; an engine provides it.

    Attributes:
        run: The run.
        models: Keeps the last and the best global model.
        selector: Decides which one is the best; None if the job has no selector.
        rounds: The finished rounds, also those before the run was resumed; ``finish_round`` adds to it.
        final_metrics: The sites' metrics of the last model; a workflow sets it.
        next_round: The first round that is not finished yet, counted from 0.
        state: What the workflow remembers itself; kept for a run that is resumed.
        cross_site: What cross-site evaluation has found; a workflow fills it.
        cross_site_file: Where those results go as JSON, or None if the job wants no file.
    """

    run: RunInfo
    models: ModelStore
    selector: ModelSelector | None
    rounds: list[RoundResult]
    final_metrics: dict[str, float]
    next_round: int
    state: WorkflowState
    cross_site: CrossSiteResults
    cross_site_file: Path | None

    def sites(self) -> list[str]:
        """Return the sites that are alive, in the job's order."""

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[Answer | GroupAnswer]:
        """Send ``task`` to ``sites`` and yield their answers as they come.

        Where processes work for many sites they answer for groups of them. Which sites form a group depends on
        ``sites`` alone, so that sums over groups are the same in every run.

        A site that dies or is too late is reported and yields nothing; one that leaves an optional task unanswered
        is only warned about.

        Raises:
            JobError: Too few sites are left.
        """

    def reject(self, site: str, error: Exception) -> None:
        """Treat a site's answer as a failure of that site.

        Raises:
            JobError: Too few sites are left.
        """

    def initial_params(self) -> Mapping[str, Any] | None:
        """Return the job's initial model, or what a resumed run had reached; None if sites begin with their own."""

    def finish_round(self, result: RoundResult) -> None:
        """Remember what a round brought, also for the summary of a run that is resumed later."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Log the server's own metrics, as the site ``server``."""

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call a life-cycle hook of every plugin."""
