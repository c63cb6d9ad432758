"""Unreadable: a process whose memory and environment no other process of the same user can read, where Linux allows it.

A process with secrets says that it must not be dumped. Then the kernel refuses ``/proc/PID/environ``, ``/proc/PID/mem``
and ptrace to other processes of its user. Root may read everything, and other systems have no such switch.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

_GET_DUMPABLE, _SET_DUMPABLE = 3, 4


def become_unreadable() -> int:
    """Keep other processes of this user out of this one, and return what was set before; -1 if that is not known."""
    if not sys.platform.startswith("linux"):
        return -1
    with contextlib.suppress(OSError, AttributeError):
        prctl = ctypes.CDLL(None).prctl
        before = int(prctl(_GET_DUMPABLE, 0, 0, 0, 0))
        prctl(_SET_DUMPABLE, 0, 0, 0, 0)
        return before
    return -1


@contextlib.contextmanager
def unreadable() -> Iterator[None]:
    """Keep other processes of this user out of this one for a while.

    A process that is started meanwhile can be read again: the kernel forgets the setting with a new program.
    """
    before = become_unreadable()
    try:
        yield
    finally:
        if before == 1:
            ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1, 0, 0, 0)
