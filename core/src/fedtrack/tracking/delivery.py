"""Delivery: hands the journal's events to one receiver, in a thread and with a cursor of its own.

A receiver that hangs, raises or is slow delays nobody else: not the other receivers, not the journal, and least of
all a training. There is no give-up: what a backend cannot take now stays in the journal until it can.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from fedtrack.errors import FedtrackError, Permanent, Transient
from fedtrack.tracking import frames
from fedtrack.tracking.events import Batch
from fedtrack.tracking.journal import Cursor, DeadLetter, Journal, StoredBatch
from fedtrack.tracking.receiver import Receiver, Results, RunInfo
from fedtrack.tracking.records import Record, decode, encode, kind_of

log = logging.getLogger(__name__)

#: An exception that is neither Transient nor Permanent counts as permanent after this many attempts.
UNKNOWN_ERROR_ATTEMPTS = 5

#: The first ``open`` may import an SDK and create a database, and nothing moves meanwhile; on a busy machine that
#: takes longer than any call after it, so the end of a run waits that many times as long for it.
OPENING_PATIENCE = 4

_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 60.0


class _Event(NamedTuple):
    batch: int
    seq: int
    record: Record


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What became of one receiver's share of the events.

    Attributes:
        name: The receiver component's id in the job.
        receiver: The receiver's registered name.
        delivered: Events the receiver took and flushed.
        skipped: Events of kinds that it does not support, by kind.
        dead: Events it refused for good; they are kept in the journal.
        pending: Events it has not taken yet; they are in the journal.
        error: The last error that is still unresolved, or "".
        results: Where the records are, if the receiver got as far as opening its backend.
    """

    name: str
    receiver: str
    delivered: int
    skipped: dict[str, int]
    dead: int
    pending: int
    error: str
    results: Results | None


class Abandoned(Exception):  # noqa: N818 - ends the thread's work, nobody catches it as an error
    """Delivery was told to stop although it has not caught up."""


class Delivery:
    """Feeds one receiver.

    Args:
        name: The cursor's name in the journal: the receiver component's id.
        receiver: Not opened yet; used only by this delivery's thread.
        journal: Where the events come from.
        run: Handed to the receiver.
        addressed: Whether this receiver listens to the events of a site.
        backoff_seconds: The longest first wait after an error; doubles up to a minute, with full jitter.
    """

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        journal: Journal,
        run: RunInfo,
        *,
        addressed: Callable[[str], bool] = lambda site: True,
        backoff_seconds: float = _FIRST_BACKOFF_SECONDS,
    ) -> None:
        self.name = name
        self._receiver = receiver
        self._journal = journal
        self._run = run
        self._addressed = addressed
        self._backoff_seconds = backoff_seconds
        self._cursor = journal.cursor(name)
        self._skipped: Counter[str] = Counter()
        self._dead: list[DeadLetter] = []
        self._error = ""
        self._results: Results | None = None
        self._status = "aborted"
        self._opening = True
        self._draining = threading.Event()
        self._abandoned = threading.Event()
        self._progress = monotonic()
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._thread = threading.Thread(target=self._work, name=f"delivery-{name}", daemon=True)

    def start(self) -> None:
        """Open the receiver and begin to deliver, in the background."""
        self._thread.start()

    def drain(self, status: str) -> None:
        """Say that the journal is complete: deliver the rest, then close the receiver with ``status``."""
        self._status = status
        self._draining.set()
        with self._journal.appended:
            self._journal.appended.notify_all()

    def finish(self, stall_seconds: float) -> DeliveryReport:
        """Wait until everything is delivered, or until nothing moved for ``stall_seconds``; then report.

        A first ``open`` that has neither succeeded nor failed yet has ``OPENING_PATIENCE`` times as long.
        """
        self._progress = monotonic()
        while self._thread.is_alive():
            self._thread.join(0.05)
            patience = stall_seconds * OPENING_PATIENCE if self._opening else stall_seconds
            if monotonic() - self._progress > patience:
                if self._opening:
                    self._error = "its backend is still being opened"
                self._abandoned.set()
                self._thread.join(2.0)  # a receiver that hangs in a call is left behind with its daemon thread
                break
        return self.report()

    def report(self) -> DeliveryReport:
        """Return the state of things as they are now."""
        cursor = self._journal.cursor(self.name)
        return DeliveryReport(
            name=self.name,
            receiver=self._receiver.name,
            delivered=cursor.delivered,
            skipped=dict(self._skipped),
            dead=cursor.dead,
            pending=self._journal.events_after(cursor),
            error=self._error,
            results=self._results,
        )

    def _work(self) -> None:
        try:
            self._persist(self._open)
            while self._deliver_next():
                pass
        except Abandoned:
            log.warning("%s: stopped before it had everything: %s", self.name, self._error or "it was too slow")
        except Exception as error:
            self._error = _describe(error)
            log.error("%s: delivery stopped: %s; its records wait in the journal", self.name, self._error)
        finally:
            self._close()

    def _open(self) -> None:
        try:
            self._receiver.open(self._run)
        finally:
            self._opening = False
            self._progress = monotonic()
        self._results = self._receiver.results()

    def _close(self) -> None:
        try:
            self._receiver.close(self._status)
        except Exception as error:
            self._error = self._error or _describe(error)
            log.error("%s: closing failed: %s", self.name, _describe(error))

    def _deliver_next(self) -> bool:
        """Deliver what the journal holds beyond the cursor; False once it is complete and delivered."""
        draining = self._draining.is_set()  # read before the journal: later events would not be missed
        batches = self._journal.read(self._cursor.batch)
        if not batches:
            if draining:
                return False
            self._wait_for_more()
            return True
        delivered = 0
        for (site, stream), events in self._grouped(batches).items():
            for start in range(0, len(events), self._receiver.max_records):
                delivered += self._hand_over(site, stream, events[start : start + self._receiver.max_records])
                self._progress = monotonic()
        # The cursor moves only when what it passes survives SIGKILL in the backend.
        self._persist(self._receiver.flush)
        self._advance(batches[-1].id, delivered)
        return True

    def _wait_for_more(self) -> None:
        with self._journal.appended:
            if self._journal.last_batch() > self._cursor.batch or self._draining.is_set():
                return
            self._journal.appended.wait(1.0)
        # Fewer, larger calls: a backend's cost is per call. Draining cuts the wait short.
        self._draining.wait(self._receiver.gather_seconds)

    def _grouped(self, batches: Sequence[StoredBatch]) -> dict[tuple[str, str], list[_Event]]:
        groups: dict[tuple[str, str], list[_Event]] = {}
        self._batch_skipped = 0
        for batch in batches:
            if not self._addressed(batch.site):
                continue
            for seq, payload in frames.split(batch.body):
                record = decode(payload)
                if type(record) in self._receiver.supports:
                    groups.setdefault((batch.site, batch.stream), []).append(_Event(batch.id, seq, record))
                else:
                    self._skip(kind_of(record))
        return groups

    def _skip(self, kind: str) -> None:
        self._batch_skipped += 1
        if not self._skipped[kind] and kind not in ("rejected", "gap"):
            log.warning("%s: %s cannot hold %s records; they are counted", self.name, self._receiver.name, kind)
        self._skipped[kind] += 1

    def _advance(self, batch: int, delivered: int) -> None:
        old = self._cursor
        dead, self._dead = self._dead, []
        self._cursor = Cursor(batch, old.delivered + delivered, old.skipped + self._batch_skipped, old.dead + len(dead))
        self._journal.advance(self.name, self._cursor, dead)
        self._progress = monotonic()

    def _hand_over(self, site: str, stream: str, events: list[_Event], attempts: int = UNKNOWN_ERROR_ATTEMPTS) -> int:
        """Give ``events`` to the receiver; return how many it took. The others are dead letters."""
        if not events:
            return 0
        batch = Batch(site, stream, [e.seq for e in events], [e.record for e in events])
        try:
            self._persist(lambda: self._receiver.receive(batch), attempts)
        except Permanent as error:
            return self._sort_out(site, stream, events, error)
        return len(events)

    def _sort_out(self, site: str, stream: str, events: list[_Event], error: Permanent) -> int:
        """Find the refused among ``events``, set them aside and deliver the rest."""
        refused = {index for index in error.indices or () if 0 <= index < len(events)}
        if refused:
            for index in sorted(refused):
                self._bury(events[index], error)
            return self._hand_over(site, stream, [e for i, e in enumerate(events) if i not in refused], 1)
        if len(events) == 1:
            self._bury(events[0], error)
            return 0
        middle = len(events) // 2
        # What has failed often enough as a whole is not tried as often again in each half.
        halves = (events[:middle], events[middle:])
        return sum(self._hand_over(site, stream, half, 1) for half in halves)

    def _bury(self, event: _Event, error: Permanent) -> None:
        log.error("%s: refused for good: %r: %s", self.name, event.record, error)
        self._dead.append(DeadLetter(self.name, event.batch, event.seq, str(error), encode(event.record)))

    def _persist(self, call: Callable[[], None], attempts: int = UNKNOWN_ERROR_ATTEMPTS) -> None:
        """Call until it succeeds, with a growing, jittered wait after each failure.

        Args:
            call: What to do.
            attempts: How often an exception that is neither Transient nor Permanent may occur.

        Raises:
            Permanent: The receiver raised it, or failed in an unknown way too often.
            FedtrackError: The receiver raised it: its configuration is wrong, and waiting will not help.
            Abandoned: Delivery was told to stop.
        """
        attempt = unknown = 0
        while True:
            if self._abandoned.is_set():
                raise Abandoned
            try:
                call()
            except (Permanent, FedtrackError):
                raise
            except Exception as error:
                unknown += not isinstance(error, Transient)
                if unknown >= attempts:
                    raise Permanent(_describe(error)) from error
                self._report_trouble(error)
                longest = min(self._backoff_seconds * 2**attempt, _LONGEST_BACKOFF_SECONDS)
                self._abandoned.wait(self._random.uniform(0, longest))
                attempt += 1
            else:
                if self._error:
                    log.warning("%s: works again", self.name)
                    self._error = ""
                return

    def _report_trouble(self, error: Exception) -> None:
        if not self._error:
            log.warning("%s: %s; its records wait in the journal", self.name, _describe(error))
        self._error = _describe(error)


def _describe(error: BaseException) -> str:
    return (
        str(error) if isinstance(error, Transient | Permanent | FedtrackError) else f"{type(error).__name__}: {error}"
    )
