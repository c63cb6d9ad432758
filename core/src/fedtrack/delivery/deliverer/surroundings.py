"""Surroundings of a deliverer: its descriptors, signals, output and sign of life."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, strftime

from fedtrack.delivery.calls import CallPage
from fedtrack.redaction import redact

#: The file with everything that receivers print, the tracebacks of their exceptions, and the stack of a process that
#: died or gave no sign of life.
LOG_FILE = "deliverer_log.txt"

#: Seconds without a sign of life after which a deliverer counts as dead.
SILENT_SECONDS = 10.0

#: Descriptors from here on are the deliverer's own; a receiver that closes "all" of them closes lower ones first.
_OWN_DESCRIPTORS = 512

_ARM_SECONDS = 1.0

_output: int = 2
_has_log = False


def send_output_to_errors() -> None:
    """Let what receivers print go where errors go: it is no output of the job."""
    global _output
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
        _output = _moved(2)
        faulthandler.enable(_output)


def keep_descriptors(received: Sequence[int]) -> list[int]:
    """Move descriptors to high numbers that no further process inherits, and return these."""
    kept = [_moved(descriptor) for descriptor in received]
    for descriptor in received:
        os.close(descriptor)
    return kept


def ignore_signals() -> None:
    """Go on when the machine asks all processes of the job to end: the server ends this one when it has everything."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A handler and not SIG_IGN, which the processes of a backend's SDK would inherit.
        signal.signal(number, lambda *_: None)


def write_to_log(folder: Path) -> None:
    """Let everything that is printed go into the log file in ``folder``."""
    global _output, _has_log
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        opened = os.open(folder / LOG_FILE, flags, 0o600)
    except OSError:
        return  # the disk is full: it goes where it went before
    for descriptor in (1, 2):
        os.dup2(opened, descriptor)
    _output, _has_log = _moved(opened), True
    os.close(opened)
    faulthandler.enable(_output)


def log_traceback(message: str, traceback: str) -> bool:
    """Write a traceback into the log file, and return whether it is there. What a receiver printed may be around it."""
    if not _has_log:
        return False
    text = redact(f"{strftime('%Y-%m-%d %H:%M:%S')} {message}\n{traceback.rstrip()}\n")
    try:
        return os.write(_output, text.encode(errors="backslashreplace")) > 0
    except OSError:  # the disk is full
        return False


class SignOfLife:
    """The sign that this process's interpreter runs.

    If there is none for ``SILENT_SECONDS``, a watchdog outside the interpreter writes down where every thread is, and
    ends the process: a call that holds the interpreter's lock stops all receivers of this process. It also ends a
    process whose supervisor cannot do that any more.
    """

    def __init__(self, page: CallPage) -> None:
        self._page = page
        self._armed = 0.0

    def leave(self, *, arm: bool = False) -> None:
        """Leave a sign; ``arm`` lets the watchdog write into the log file as it is now."""
        self._page.beat()
        if arm or monotonic() - self._armed > _ARM_SECONDS:
            self._armed = monotonic()
            faulthandler.dump_traceback_later(SILENT_SECONDS, exit=True, file=_output)


def _moved(descriptor: int) -> int:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OWN_DESCRIPTORS)
    except OSError:  # a limit below that
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
