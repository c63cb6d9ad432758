"""Federated experiment tracking as plugins.

``import fedtrack`` is cheap: names are loaded when they are first used, and no tracking or training framework is
imported at all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedtrack.errors import FedtrackError, Permanent, Transient
    from fedtrack.examples import Example
    from fedtrack.markers import hookimpl
    from fedtrack.tracking.events import Batch
    from fedtrack.tracking.receiver import Receiver, ReceiverOptions, Results, RunInfo
    from fedtrack.tracking.writer import Writer

_HOMES = {
    "Batch": "fedtrack.tracking.events",
    "Example": "fedtrack.examples",
    "FedtrackError": "fedtrack.errors",
    "Permanent": "fedtrack.errors",
    "Receiver": "fedtrack.tracking.receiver",
    "ReceiverOptions": "fedtrack.tracking.receiver",
    "Results": "fedtrack.tracking.receiver",
    "RunInfo": "fedtrack.tracking.receiver",
    "Transient": "fedtrack.errors",
    "Writer": "fedtrack.tracking.writer",
    "hookimpl": "fedtrack.markers",
}

__all__ = [
    "Batch",
    "Example",
    "FedtrackError",
    "Permanent",
    "Receiver",
    "ReceiverOptions",
    "Results",
    "RunInfo",
    "Transient",
    "Writer",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fedtrack' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
