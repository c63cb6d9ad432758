"""The workflows that a job file can name: what core describes, and what plugins bring."""

from __future__ import annotations

from typing import Any

import msgspec

from fedtrack.job.components import COMPONENTS
from fedtrack.job.cross_site_eval import CrossSiteEval
from fedtrack.job.fedavg import FedAvg
from fedtrack.plugins import registry
from fedtrack.plugins.workflow import Workflow

#: Described by core, so that a job with them can be built and read where nothing executes them.
DESCRIBED: dict[str, type[Workflow]] = {"CrossSiteEval": CrossSiteEval, "FedAvg": FedAvg}


def workflow_classes() -> dict[str, type[Workflow]]:
    """Return every workflow by the name that a job file gives it."""
    return registry().workflows | DESCRIBED


def executable(workflow: Workflow) -> Workflow:
    """Return ``workflow`` as the class that can be executed.

    Raises:
        PluginError: No installed plugin executes it.
    """
    name = type(workflow).__name__
    cls = registry().workflow(name)
    return workflow if isinstance(workflow, cls) else cls(**msgspec.structs.asdict(workflow))


def name_of(component: Any) -> str | None:
    """Return the name under which a job file holds ``component``; None if no job file can."""
    cls = type(component)
    known = (DESCRIBED.get(cls.__name__), registry().workflows.get(cls.__name__), COMPONENTS.get(cls.__name__))
    return cls.__name__ if cls in known else None
