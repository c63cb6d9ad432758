"""Forwarder: it moves records from the sites' spools to the journal, and deletes segments that have arrived.

On one machine no network is needed: the server reads the sites' spool folders, also those that a killed site left
behind.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic, sleep

from fedtrack.errors import DamagedError
from fedtrack.transport.forward_pass import ForwardPass
from fedtrack.transport.spool_source import SpoolSource

log = logging.getLogger(__name__)

#: Seconds between two passes while sites log; on average a metric waits half of this.
_ACTIVE_POLL_SECONDS = 0.02
_ACTIVE_SECONDS = 1.0


class Forwarder:
    """Forwards from many spools, in a thread of its own once it is started.

    Args:
        poll_seconds: Seconds to wait if no spool had new records.
        clock: Seconds since any moment; never runs back.
    """

    def __init__(self, poll_seconds: float = 0.05, clock: Callable[[], float] = monotonic) -> None:
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._sources: dict[str, SpoolSource] = {}
        self._errors: dict[str, Exception] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._found_at = -_ACTIVE_SECONDS
        self._due = -float("inf")
        self._thread = threading.Thread(target=self._loop, name="forwarder", daemon=True)

    @property
    def errors(self) -> dict[str, str]:
        """Why the records of a site still wait in its spool, by site; empty if none do."""
        return {site: str(error) for site, error in list(self._errors.items())}

    def add(self, source: SpoolSource) -> None:
        """Read from one more spool."""
        with self._lock:
            self._sources[source.site] = source

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def end(self, site: str) -> None:
        """Note that a site's process is gone: an incomplete frame at the end of its spool will not be completed."""
        with self._lock:
            if site in self._sources:
                self._sources[site].ended = True

    def end_all(self) -> None:
        """Note that every process is gone."""
        with self._lock:
            for source in self._sources.values():
                source.ended = True

    def stop(self, patience_seconds: float = 5.0) -> None:
        """Forward the remaining records in the spools, then return.

        Args:
            patience_seconds: Seconds to repeat failed attempts; ``errors`` has the failures that remain.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = self._clock() + patience_seconds
        while self._forward_all() or (self._waiting_helps() and self._clock() < deadline):
            if self._errors:
                sleep(self._poll_seconds)
        for source in self._sources.values():
            source.end_log()

    def _waiting_helps(self) -> bool:
        """Return whether a failure may end later: a spool of a newer version stays unreadable."""
        return any(not isinstance(error, DamagedError) for error in self._errors.values())

    def _loop(self) -> None:
        while not self._stop.is_set():
            due = self.step(self._clock())
            self._stop.wait(due - self._clock())

    def step(self, now: float) -> float:
        """Make a pass over the spools, if it is due, and return when the next one is due.

        While sites log, passes are frequent, but not without a pause: each pass costs a COMMIT.

        Args:
            now: The time, in seconds of the clock.
        """
        if now < self._due:
            return self._due
        found = self._forward_all()
        after = self._clock()
        if found:
            self._found_at = after
        active = after - self._found_at < _ACTIVE_SECONDS
        self._due = after + (min(_ACTIVE_POLL_SECONDS, self._poll_seconds) if active else self._poll_seconds)
        return self._due

    def _forward_all(self) -> bool:
        with self._lock:
            sources = list(self._sources.values())
        one = ForwardPass()
        one.run(sources)
        for source in sources:
            self._note(source, one.failures.get(source))
        return one.found

    def _note(self, source: SpoolSource, error: Exception | None) -> None:
        if error is None:
            if self._errors.pop(source.site, None) is not None:
                log.warning("%s: its records are forwarded again", source.site)
            return
        # A full disk, for example: the records stay in the spool, and the next poll tries again.
        if source.site not in self._errors:
            log.error("%s: %s; its records wait in %s", source.site, str(error).removesuffix("."), source.folder)
        self._errors[source.site] = error
