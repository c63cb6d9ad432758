"""View: what is computed about sites from a journal, as records of the server that every receiver gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.view.follower import ViewFollower
    from fedtrack.view.options import ViewOptions

_HOMES = {
    "ViewFollower": "fedtrack.view.follower",
    "ViewOptions": "fedtrack.view.options",
}

__all__ = ["ViewFollower", "ViewOptions"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
