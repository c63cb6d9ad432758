"""Delivery: hands the journal's events to one receiver, in a thread and with a cursor of its own.

A receiver that hangs, raises or is slow delays nobody else: not the other receivers, not the journal, and least of
all a training. There is no give-up: what a backend cannot take now stays in the journal until it can.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

import msgspec

from fedtrack.delivery.report import DeliveryReport
from fedtrack.delivery.retry import (
    FIRST_BACKOFF_SECONDS,
    UNKNOWN_ERROR_ATTEMPTS,
    Abandoned,
    Retry,
    TriedOften,
    describe,
)
from fedtrack.errors import Permanent
from fedtrack.journal.journal import Cursor, DeadLetter, Journal, StoredBatch
from fedtrack.spool import frames
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, Results, RunInfo
from fedtrack.tracking.records import Control, Record, decode, kind_of

log = logging.getLogger(__name__)

#: The first ``open`` may import an SDK and create a database, and nothing moves meanwhile; on a busy machine that
#: takes longer than any call after it, so the end of a run waits that many times as long for it.
OPENING_PATIENCE = 4

_POLL_SECONDS = 0.05
_LEAVE_SECONDS = 2.0


class _Event(msgspec.Struct, frozen=True, gc=False):
    # Nothing here is tracked by the garbage collector: thousands that are would make it look through the whole process
    # more often, and with an SDK imported each look takes as long as a thousand points.
    batch: int
    seq: int
    record: Record
    payload: bytes


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
        backoff_seconds: float = FIRST_BACKOFF_SECONDS,
    ) -> None:
        self.name = name
        self._receiver = receiver
        self._journal = journal
        self._run = run
        self._addressed = addressed
        self._retry = Retry(name, backoff_seconds)
        self._cursor = journal.cursor(name)
        self._skipped: Counter[str] = Counter()
        self._dead: list[DeadLetter] = []
        self._results: Results | None = None
        self._status = "aborted"
        self._opening = True
        self._progress = monotonic()
        self._called = -math.inf
        self._thread = threading.Thread(target=self._work, name=f"delivery-{name}", daemon=True)

    def start(self) -> None:
        """Open the receiver and begin to deliver, in the background."""
        self._thread.start()

    def drain(self, status: str) -> None:
        """Say that the journal is complete: deliver the rest, then close the receiver with ``status``."""
        self._status = status
        self._progress = monotonic()
        self._retry.draining.set()
        self._wake()

    def finish(self, stall_seconds: float) -> DeliveryReport:
        """Wait until everything is delivered, or until nothing moved for ``stall_seconds``; then report.

        The time counts from ``drain``, so that several stalled receivers are waited for at once. A first ``open`` that
        has neither succeeded nor failed yet has ``OPENING_PATIENCE`` times as long.
        """
        while self._thread.is_alive():
            self._thread.join(_POLL_SECONDS)
            patience = stall_seconds * OPENING_PATIENCE if self._opening else stall_seconds
            if monotonic() - self._progress > patience:
                if self._opening:
                    self._retry.error = "its backend is still being opened"
                self._retry.abandoned.set()
                self._wake()
                self._thread.join(_LEAVE_SECONDS)  # one that hangs in a call is left behind with its daemon thread
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
            error=self._retry.error,
            results=self._results,
            outage_seconds=self._retry.outage_seconds,
            outage=self._retry.outage,
        )

    def _work(self) -> None:
        try:
            self._retry.persist(self._open, patient=True)
            while self._deliver_next():
                pass
        except Abandoned:
            log.warning("%s: stopped before it had everything: %s", self.name, self._retry.error or "it was too slow")
        except Exception as error:
            self._retry.error = describe(error)
            log.error("%s: delivery stopped: %s; its records wait in the journal", self.name, self._retry.error)
        finally:
            self._close()

    def _open(self) -> None:
        try:
            self._receiver.open(self._run)
        except BaseException:
            if self._opening:  # it has taken its time; that each further attempt fails is no progress
                self._opening, self._progress = False, monotonic()
            raise
        self._opening, self._progress = False, monotonic()
        self._results = self._receiver.results()

    def _wake(self) -> None:
        with self._journal.appended:
            self._journal.appended.notify_all()

    def _close(self) -> None:
        try:
            self._receiver.close(self._status)
        except BaseException as error:  # a backend that calls sys.exit() ends its delivery, not in silence
            self._retry.error = self._retry.error or describe(error)
            log.error("%s: closing failed: %s", self.name, describe(error))
        if self._results is not None:
            with contextlib.suppress(Exception):  # what it leaves to be done may be known only now
                self._results = self._receiver.results() or self._results

    def _deliver_next(self) -> bool:
        """Deliver what the journal holds beyond the cursor; False once it is complete and delivered."""
        # Both before the journal is read: what comes later is not missed.
        draining, commits = self._retry.draining.is_set(), self._journal.commits
        batches = self._retry.insist(lambda: self._journal.read(self._cursor.batch))
        if not batches:
            if draining:
                return False
            self._wait_for_more(commits)
            return True
        if not draining and self._gathers(sum(batch.count for batch in batches)):
            return True
        delivered = 0
        for (site, stream), events in self._grouped(batches).items():
            for start in range(0, len(events), self._receiver.max_records):
                delivered += self._hand_over(site, stream, events[start : start + self._receiver.max_records])
        # The cursor moves only when what it passes survives SIGKILL in the backend.
        self._retry.persist(self._receiver.flush, patient=True)
        self._advance(batches[-1].id, delivered)
        self._called = monotonic()
        return True

    def _wait_for_more(self, commits: int) -> None:
        with self._journal.appended:
            # Nothing that may fail or wait belongs in here: whoever writes the journal needs this lock.
            if self._retry.abandoned.is_set():
                raise Abandoned
            if self._journal.commits != commits or self._retry.draining.is_set():
                return
            self._journal.appended.wait(1.0)

    def _gathers(self, count: int) -> bool:
        """Wait for more than the ``count`` events that are there, if the receiver's last call was just now.

        Fewer, larger calls: a backend's cost is per call. What comes after a silence is delivered at once, and so is
        as much as one call may hold.
        """
        left = self._called + self._receiver.gather_seconds - monotonic()
        if left <= 0 or count >= self._receiver.max_records:
            return False
        self._retry.draining.wait(left)  # draining cuts the wait short
        return True

    def _grouped(self, batches: Sequence[StoredBatch]) -> dict[tuple[str, str], list[_Event]]:
        groups: dict[tuple[str, str], list[_Event]] = {}
        self._batch_skipped = 0
        for batch in batches:
            if not self._addressed(batch.site):
                continue
            group = groups.setdefault((batch.site, batch.stream), [])
            for seq, payload in frames.split(batch.body):
                try:
                    record = decode(payload)
                except msgspec.DecodeError as error:
                    self._bury(batch.id, seq, bytes(payload), f"not a record that this version knows: {error}")
                    continue
                if isinstance(record, Control):
                    continue
                if type(record) in self._receiver.supports:
                    group.append(_Event(batch.id, seq, record, bytes(payload)))
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
        cursor = Cursor(batch, old.delivered + delivered, old.skipped + self._batch_skipped, old.dead + len(dead))
        self._retry.insist(lambda: self._journal.advance(self.name, cursor, dead))
        self._cursor = cursor
        self._progress = monotonic()

    def _hand_over(self, site: str, stream: str, events: list[_Event]) -> int:
        """Give ``events`` to the receiver, in order; return how many it took. The others are dead letters."""
        taken = 0
        waiting = [(events, UNKNOWN_ERROR_ATTEMPTS)]  # a stack, the oldest events on top
        while waiting:
            part, attempts = waiting.pop()
            batch = Batch(site, stream, [e.seq for e in part], [e.record for e in part])
            try:
                self._retry.persist(partial(self._receiver.receive, batch), attempts)
                taken += len(part)
            except Permanent as error:
                # What has failed often enough as a whole is not tried as often again in each half.
                attempts = 1 if isinstance(error, TriedOften) else attempts
                waiting += [(rest, attempts) for rest in reversed(self._sort_out(part, error))]
            self._progress = monotonic()
        return taken

    def _sort_out(self, events: list[_Event], error: Permanent) -> list[list[_Event]]:
        """Set aside those of ``events`` that are known to be refused; return the rest as what to try next."""
        refused = {index for index in error.indices or () if 0 <= index < len(events)}
        if len(events) == 1:
            refused = {0}
        for index in sorted(refused):
            event = events[index]
            # As it was logged: a newer version may have put more into it than this one knows.
            self._bury(event.batch, event.seq, event.payload, str(error))
        if refused:
            rest = [event for index, event in enumerate(events) if index not in refused]
            return [rest] if rest else []
        middle = len(events) // 2
        return [events[:middle], events[middle:]]

    def _bury(self, batch: int, seq: int, payload: bytes, error: str) -> None:
        if not self._cursor.dead and not self._dead:
            log.error("%s: refused for good, and kept in the journal: %s", self.name, error)
        self._dead.append(DeadLetter(self.name, batch, seq, error, payload))
