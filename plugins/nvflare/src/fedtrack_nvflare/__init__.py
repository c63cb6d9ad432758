"""fedtrack on NVIDIA FLARE: an engine that runs fedtrack's jobs there, and receivers for FLARE's own jobs.

The import of this module imports nothing of FLARE, because a listing of plugins imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedtrack import hookimpl
from fedtrack_nvflare.engine import NVFlareEngine

if TYPE_CHECKING:
    from fedtrack_nvflare.bridge import ReceiverBridge

__all__ = ["NVFlareEngine", "ReceiverBridge"]


@hookimpl
def fedtrack_engines() -> list[type[NVFlareEngine]]:
    """Provide the engine."""
    return [NVFlareEngine]


def __getattr__(name: str) -> Any:
    if name == "ReceiverBridge":  # a FLARE component: its base class is FLARE's
        from fedtrack_nvflare.bridge import ReceiverBridge

        return ReceiverBridge
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
