"""Descendants: the processes that a process has started, directly or through others (Linux: from /proc)."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import defaultdict
from pathlib import Path

#: How often a tree is listed again while its processes start others.
_ROUNDS = 5


def descendants(pid: int) -> list[int]:
    """Return the ids of the living processes below ``pid``, parents before their children."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir("/proc"):  # noqa: PTH208 - one text for each process
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name in parentheses may hold anything, also parentheses.
                state, parent = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    children[int(parent)].append(int(name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children[waiting.pop(0)]
        found += below
        waiting += below
    return found


def signal_descendants(pid: int, number: int) -> None:
    """Send a signal to everything below ``pid``, also to processes in sessions of their own."""
    signalled: set[int] = set()
    for _ in range(_ROUNDS if number == signal.SIGKILL else 1):
        new = [child for child in descendants(pid) if child not in signalled]
        if not new:
            return
        for child in new:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, number)
        signalled.update(new)
