"""What can be placed on a node of a job, and the ids that it gets there."""

from __future__ import annotations

from collections.abc import Container
from typing import TypeAlias

from fedtrack.job.components import Component
from fedtrack.plugins.workflow import Workflow
from fedtrack.tracking.receiver import Receiver

#: What ``FedJob.to`` takes besides files: anything that a job file can name.
Placeable: TypeAlias = Workflow | Component | Receiver


def unused_id(wanted: str, taken: Container[str]) -> str:
    """Return ``wanted``, with the first number behind it that makes it unique among ``taken`` (FLARE's rule)."""
    chosen, number = wanted, 0
    while chosen in taken:
        number += 1
        chosen = f"{wanted}_{number}"
    return chosen
