"""View: what is computed about sites from a journal, as records of the server that every receiver gets."""

from __future__ import annotations

from fedtrack.view.follower import ViewFollower
from fedtrack.view.options import ViewOptions

__all__ = ["ViewFollower", "ViewOptions"]
