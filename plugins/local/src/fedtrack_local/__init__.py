"""fedtrack on one machine: federated averaging, and the engine that runs every site as a process.

Importing this module loads nothing of the engine itself, because listing plugins imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.plugins.markers import hookimpl
from fedtrack_local.engine import LocalEngine

if TYPE_CHECKING:
    from fedtrack.plugins.workflow import Workflow

__all__ = ["LocalEngine"]


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
