"""Workflows: those that core describes and those of plugins, by the name in a job file."""

from __future__ import annotations

from typing import Any

import msgspec

from fedtrack.errors import PluginError
from fedtrack.job.components import ALIASES, COMPONENTS
from fedtrack.job.cross_site_eval import CrossSiteEval
from fedtrack.job.fedavg import FedAvg
from fedtrack.plugins import registry
from fedtrack.plugins.workflow import Workflow

#: Described by core, so that a job with them can be built and read without an engine.
DESCRIBED: dict[str, type[Workflow]] = {"CrossSiteEval": CrossSiteEval, "FedAvg": FedAvg}


def workflow_class(path: str) -> type[Workflow]:
    """Return the workflow class for a path in a job file.

    Args:
        path: The name of the class; FLARE's class paths mean the same workflows here.

    Raises:
        PluginError: No usable plugin has it; the message names the installed ones and how to get another one.
    """
    name = ALIASES.get(path, path)
    if name in DESCRIBED:
        return DESCRIBED[name]
    try:
        return registry().workflow(name)
    except PluginError as error:
        raise PluginError(
            f"{error} A workflow comes with a plugin: pip install the distribution that has it, "
            "or write one: fedtrack plugins new NAME --kind workflow"
        ) from None


def executable(workflow: Workflow) -> Workflow:
    """Return ``workflow`` as the class that can be executed.

    Raises:
        PluginError: No installed plugin executes it.
    """
    name = type(workflow).__name__
    cls = registry().workflow(name)
    return workflow if isinstance(workflow, cls) else cls(**msgspec.structs.asdict(workflow))


def name_of(component: Any) -> str | None:
    """Return the name of ``component`` in a job file; None if a job file cannot contain it."""
    cls = type(component)
    known = (DESCRIBED.get(cls.__name__), registry().workflows.get(cls.__name__), COMPONENTS.get(cls.__name__))
    return cls.__name__ if cls in known else None
