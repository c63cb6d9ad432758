"""Ranks: the number of a process among those that train a site's model together."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from fedtrack_local.scripts.variables import LOCAL_RANK_VARIABLES, RANK_VARIABLES


def default_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return the rank that a launcher has given to a process; 0 if there is none."""
    for name, _ in RANK_VARIABLES:
        if (rank := _number(environment.get(name))) is not None:
            return rank
    local, node = (_number(environment.get(name)) or 0 for name in LOCAL_RANK_VARIABLES)
    # On a further node the first process is not rank 0 either; only that difference matters.
    return local or node


def world_size(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many ranks there are, as far as a process knows."""
    if (torch := sys.modules.get("torch.distributed")) is not None and torch.is_available() and torch.is_initialized():
        return int(torch.get_world_size())
    for _, name in RANK_VARIABLES:
        if (size := _number(environment.get(name))) is not None:
            return max(1, size)
    return 1


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
