"""Deadline: code of somebody else gets so many seconds, and is interrupted where it hangs."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from time import monotonic
from types import FrameType


class OutOfTime(BaseException):
    """The time is over; raised in the code that hangs, so that its traceback shows the place."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise ``OutOfTime`` in the code within, if it takes longer.

    It works in the main thread; elsewhere there is no limit. A timer of somebody else, such as that of a test runner,
    is put off meanwhile if it has more time left, and else stays as it is. A call that never returns to the
    interpreter, such as an endless loop in C, cannot be interrupted.

    Args:
        seconds: How long the code may take.
    """
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGALRM) if in_main else None
    left = signal.getitimer(signal.ITIMER_REAL)[0]
    if before is None or 0 < left <= seconds:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"it took longer than {seconds:g} s")

    started = monotonic()
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (monotonic() - started), 0.001))
