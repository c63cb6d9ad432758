"""The memory for models that wait to be read; see ``handed_model``. Nothing here needs numpy."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from pathlib import Path


@cache
def memory_limit() -> int:
    """Return how many bytes of models may wait in memory: a quarter of the memory that this process may use."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # no control group, or no limit
        found = min(found, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return found // 4


def share_of(sites: int) -> int:
    """Return how many bytes of a result may wait in memory if so many sites may send one at the same time."""
    return memory_limit() // max(1, sites)
