"""CountingLine: a line about a count that takes long, now and then, with an estimate of what is left."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from fedtrack.output import echo

#: Seconds until the first line about a receiver, and between two of them.
_EVERY = 5.0


class CountingLine:
    """Prints on the standard error how far a count is; a short one prints nothing.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._label = ""
        self._begun = self._shown = 0.0

    def __call__(self, label: str, done: int, total: int) -> None:
        """Print the line of a receiver, if it is time for one.

        Args:
            label: The receiver.
            done: The steps that are done.
            total: All steps.
        """
        now = self._clock()
        if label != self._label:
            self._label, self._begun, self._shown = label, now, now
        if now - self._shown < _EVERY or not done:
            return
        self._shown = now
        left = (now - self._begun) / done * (total - done)
        echo(f"{label}: {done:,} of {total:,} names counted, about {_duration(left)} left", err=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
