"""Log calls: whether those of this installation are compiled."""

from __future__ import annotations

import os
from typing import NamedTuple


class LogCalls(NamedTuple):
    """How log calls are made.

    Attributes:
        how: ``compiled``, or ``in Python`` with the reason.
        remedy: What makes them faster; "" if nothing does, or if somebody has chosen it.
    """

    how: str
    remedy: str = ""


def log_calls() -> LogCalls:
    """Return how the log calls of this process are made."""
    from fedtrack.plugins import remedy
    from fedtrack.spool.base import VARIABLE, PythonSpoolBase, SpoolBase

    if SpoolBase is not PythonSpoolBase:
        return LogCalls("compiled")
    if os.environ.get(VARIABLE) == "0":
        return LogCalls(f"in Python, because {VARIABLE} is 0")
    # There was neither a compiler nor a compiled wheel.
    return LogCalls(
        "in Python; compiled, each takes half the time or less", f"install a C compiler, then {remedy.rebuild()}"
    )
