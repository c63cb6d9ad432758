"""Spool: the append-only files of a process's records, their writer and their reader.

``spool.py`` writes, ``reader.py`` reads, ``frames.py`` has the format, and ``base.py`` has the part of the writer that
is also compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.spool.counts import read_counts
    from fedtrack.spool.frames import split
    from fedtrack.spool.identity import SpoolIdentity
    from fedtrack.spool.shared import SharedSpool
    from fedtrack.spool.spool import DEFAULT_LIMIT_BYTES, Durability, Spool

_HOMES = {
    "DEFAULT_LIMIT_BYTES": "fedtrack.spool.spool",
    "Durability": "fedtrack.spool.spool",
    "SharedSpool": "fedtrack.spool.shared",
    "Spool": "fedtrack.spool.spool",
    "SpoolIdentity": "fedtrack.spool.identity",
    "read_counts": "fedtrack.spool.counts",
    "split": "fedtrack.spool.frames",
}

__all__ = [
    "DEFAULT_LIMIT_BYTES",
    "Durability",
    "SharedSpool",
    "Spool",
    "SpoolIdentity",
    "read_counts",
    "split",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
