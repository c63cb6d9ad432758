"""fedtrack on one machine: federated averaging, and the engine that runs every site as a process.

It has the names for the authors of workflows and aggregators. Names are loaded when they are first used, because a
listing of plugins imports this module: it loads nothing of the engine itself, and no numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack import hookimpl
from fedtrack.lazy import lazy_names
from fedtrack_local.engine import LocalEngine

if TYPE_CHECKING:
    from fedtrack import Workflow
    from fedtrack_local.averaging.aggregator import WeightedAggregator, check_fits, weight_of, weighted_metrics
    from fedtrack_local.averaging.aggregators import Aggregator
    from fedtrack_local.averaging.partial_average import PartialAverage
    from fedtrack_local.averaging.round_average import RoundAverage
    from fedtrack_local.models.initial_model import write_model
    from fedtrack_local.models.model_store import ModelStore, StoredModel
    from fedtrack_local.models.params import load_params, save_params
    from fedtrack_local.task_report import TaskReport
    from fedtrack_local.workflows.model_selector import ModelSelector
    from fedtrack_local.workflows.round import play_round
    from fedtrack_local.workflows.round_metrics import finite, round_metrics
    from fedtrack_local.workflows.state import WorkflowState
    from fedtrack_local.workflows.workflow import (
        SUBMIT_MODEL,
        TRAIN,
        VALIDATE,
        Answer,
        GroupAnswer,
        RoundResult,
        Server,
        Task,
    )

_HOMES = {
    "Aggregator": "fedtrack_local.averaging.aggregators",
    "Answer": "fedtrack_local.workflows.workflow",
    "GroupAnswer": "fedtrack_local.workflows.workflow",
    "ModelStore": "fedtrack_local.models.model_store",
    "ModelSelector": "fedtrack_local.workflows.model_selector",
    "PartialAverage": "fedtrack_local.averaging.partial_average",
    "RoundAverage": "fedtrack_local.averaging.round_average",
    "RoundResult": "fedtrack_local.workflows.workflow",
    "SUBMIT_MODEL": "fedtrack_local.workflows.workflow",
    "Server": "fedtrack_local.workflows.workflow",
    "StoredModel": "fedtrack_local.models.model_store",
    "TRAIN": "fedtrack_local.workflows.workflow",
    "Task": "fedtrack_local.workflows.workflow",
    "TaskReport": "fedtrack_local.task_report",
    "VALIDATE": "fedtrack_local.workflows.workflow",
    "WeightedAggregator": "fedtrack_local.averaging.aggregator",
    "WorkflowState": "fedtrack_local.workflows.state",
    "check_fits": "fedtrack_local.averaging.aggregator",
    "load_params": "fedtrack_local.models.params",
    "play_round": "fedtrack_local.workflows.round",
    "save_params": "fedtrack_local.models.params",
    "finite": "fedtrack_local.workflows.round_metrics",
    "round_metrics": "fedtrack_local.workflows.round_metrics",
    "write_model": "fedtrack_local.models.initial_model",
    "weight_of": "fedtrack_local.averaging.aggregator",
    "weighted_metrics": "fedtrack_local.averaging.aggregator",
}

__all__ = [
    "SUBMIT_MODEL",
    "TRAIN",
    "VALIDATE",
    "Aggregator",
    "Answer",
    "GroupAnswer",
    "LocalEngine",
    "ModelSelector",
    "ModelStore",
    "PartialAverage",
    "RoundAverage",
    "RoundResult",
    "Server",
    "StoredModel",
    "Task",
    "TaskReport",
    "WeightedAggregator",
    "WorkflowState",
    "check_fits",
    "finite",
    "load_params",
    "play_round",
    "round_metrics",
    "save_params",
    "weight_of",
    "weighted_metrics",
    "write_model",
]

# No __dir__: pluggy asks for every name in it, which would load all of them.
__getattr__, _ = lazy_names(__name__, _HOMES)


@hookimpl
def fedtrack_engines() -> list[type[LocalEngine]]:
    """Provide the engine."""
    return [LocalEngine]


@hookimpl
def fedtrack_workflows() -> list[type[Workflow]]:
    """Provide federated averaging and cross-site evaluation."""
    from fedtrack_local.workflows.cross_site_eval import CrossSiteEval
    from fedtrack_local.workflows.fedavg import FedAvg

    return [CrossSiteEval, FedAvg]


@hookimpl
def fedtrack_aggregators() -> list[object]:
    """Provide the weighted mean, the coordinate-wise median and the trimmed mean."""
    from fedtrack_local.averaging.aggregators import CoordinateMedian, TrimmedMean, Weighted

    return [Weighted(), CoordinateMedian(), TrimmedMean()]
