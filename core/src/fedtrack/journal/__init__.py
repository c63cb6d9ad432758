"""Journal: a node's SQLite store of every event, exactly once, in order per (site, stream)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.journal.goodbyes import Goodbye
    from fedtrack.journal.journal import Journal

_HOMES = {
    "Goodbye": "fedtrack.journal.goodbyes",
    "Journal": "fedtrack.journal.journal",
}

__all__ = [
    "Goodbye",
    "Journal",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
