"""Quotas: how much a site may send, so that one that sends too much delays itself and nobody else.

A token bucket per site (see RFC 2697): it fills with the rate that a site may keep up, and holds what it may send at
once. What is over the quota is not lost: it stays in the site's spool, which is told when to try again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

#: The end of the reason that a site is told.
OVER_QUOTA = "the rest waits in its spool"


@dataclass(frozen=True)
class Quota:
    """What a site may send to a run.

    Attributes:
        events_per_second: Records that it may keep up.
        bytes_per_second: Bytes that it may keep up, of records and files together.
        burst_seconds: How many seconds of both it may send at once.
        streams: How many streams it may have: one per process, and one per restart.
        unfinished_files: Files of which only a part has arrived.
        losses: Losses that are recorded one by one; further ones are one record together.
        messages: Messages in work at once.
    """

    events_per_second: float = 100_000.0
    bytes_per_second: float = 64 * 1024 * 1024
    burst_seconds: float = 10.0
    streams: int = 10_000
    unfinished_files: int = 64
    losses: int = 1_000
    messages: int = 8


class SiteQuota:
    """The use of a quota by one site; several threads may call it.

    Args:
        quota: What the site may send.
        clock: Seconds since any moment; never runs back.

    Attributes:
        refused: How many messages came too early so far.
        losses: How many losses it has reported so far.
    """

    def __init__(self, quota: Quota, clock: Callable[[], float] = monotonic) -> None:
        self.refused = 0
        self.losses = 0
        self._quota = quota
        self._clock = clock
        self._lock = threading.Lock()
        self._rates = (quota.events_per_second, quota.bytes_per_second)
        self._left = [rate * quota.burst_seconds for rate in self._rates]
        self._then = clock()
        self._working = 0

    def take(self, events: int, size: int) -> float:
        """Return 0.0 and count what a message brings; or the seconds to wait, and count nothing but the refusal.

        A message that is larger than all that may come at once is taken when the bucket is full, and then paid for.
        """
        with self._lock:
            now = self._clock()
            passed, self._then = now - self._then, now
            most = [rate * self._quota.burst_seconds for rate in self._rates]
            self._left = [
                min(full, left + passed * rate) for full, left, rate in zip(most, self._left, self._rates, strict=True)
            ]
            missing = [
                (min(wanted, full) - left) / rate
                for wanted, full, left, rate in zip((events, size), most, self._left, self._rates, strict=True)
            ]
            wait = max(missing)
            if wait > 0:
                self.refused += 1
                return wait
            self._left = [left - wanted for left, wanted in zip(self._left, (events, size), strict=True)]
            return 0.0

    def begin(self) -> bool:
        """Return whether one more message may be in work; if so, ``end`` follows."""
        with self._lock:
            if self._working >= self._quota.messages:
                self.refused += 1
                return False
            self._working += 1
            return True

    def end(self) -> None:
        """Note that a message is answered."""
        with self._lock:
            self._working -= 1

    def may_lose(self) -> bool:
        """Count one more loss, and return whether it is recorded for itself."""
        with self._lock:
            self.losses += 1
            return self.losses <= self._quota.losses
