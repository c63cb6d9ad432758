"""Placeables: objects that can be placed on a node of a job, and their ids there."""

from __future__ import annotations

from collections.abc import Container
from typing import TypeAlias

from fedtrack.job.components import Component
from fedtrack.plugins.workflow import Workflow
from fedtrack.tracking.receiver import Receiver

#: The objects that ``FedJob.to`` takes besides files: all that a job file can name.
Placeable: TypeAlias = Workflow | Component | Receiver


def unused_id(wanted: str, taken: Container[str]) -> str:
    """Return ``wanted``, followed by the first number that makes it unique among ``taken`` (FLARE's rule)."""
    chosen, number = wanted, 0
    while chosen in taken:
        number += 1
        chosen = f"{wanted}_{number}"
    return chosen
