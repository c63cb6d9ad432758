"""End: how the process of a site ended, in words, and the last words of its log."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from fedtrack.failure import shortened
from fedtrack.files import open_plain

_FIRST_LINES = ("Traceback (most recent call last):", "  + Exception Group Traceback (most recent call last):")
_LINKS = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_MOST_BYTES, _LAST_LINES = 2**20, 30


def ended(status: int) -> str:
    """Return how a process ended, such as ``was killed by SIGKILL``.

    Args:
        status: As ``os.waitstatus_to_exitcode`` returns it.
    """
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:  # most real-time signals have no name
        return f"was killed by signal {-status}"


def last_words(log: Path, status: int = 0) -> str:
    """Return the end of a process's log, for the message about its end.

    Args:
        log: The log.
        status: How the process ended. If it ended itself with an error, the last traceback in the log is the reason;
            it is returned with the exceptions that led to it. Otherwise the last 30 lines are returned.
    """
    try:
        with open_plain(log) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_BYTES))
            lines = file.read(_MOST_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return ""
    first = _last_traceback(lines) if status > 0 else None
    if first is None:
        return shortened("\n".join(lines[-_LAST_LINES:]).rstrip())
    while any(line.strip(" |") in _LINKS for line in lines[max(0, first - 3) : first]):
        earlier = _last_traceback(lines[:first])
        if earlier is None:
            break
        first = earlier
    return shortened("\n".join(lines[first:]).rstrip())


def _last_traceback(lines: list[str]) -> int | None:
    return next((number for number in reversed(range(len(lines))) if lines[number] in _FIRST_LINES), None)
