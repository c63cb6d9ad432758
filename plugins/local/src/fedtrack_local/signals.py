"""Signals: SIGTERM and SIGHUP end a run in order, as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

#: Batch systems send SIGTERM before they kill. A terminal that is closed, such as that of a lost connection, sends
#: SIGHUP.
ENDING = (signal.SIGTERM, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came."""


@contextlib.contextmanager
def end_in_order() -> Iterator[None]:
    """Raise ``Terminated`` in the main thread for the first of these signals; later ones change nothing.

    A signal that is ignored stays ignored: ``nohup`` does that with SIGHUP.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    handled = [number for number in ENDING if before[number] is not signal.SIG_IGN]

    def terminate(number: int, frame: FrameType | None) -> None:
        for other in handled:  # the end of the run must not be interrupted: some systems send the signal twice
            signal.signal(other, signal.SIG_IGN)
        raise Terminated

    for number in handled:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
