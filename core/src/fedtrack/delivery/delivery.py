"""Delivery: hands the journal's events to one receiver, in a thread and with a cursor of its own.

A receiver that hangs, raises or is slow delays nobody else: not the other receivers, not the journal, and least of
all a training. A delivery never gives up: events that a backend cannot take now stay in the journal until it can.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic

from fedtrack.delivery.calls import CallRecorder
from fedtrack.delivery.ledger import Cursor, Ledger
from fedtrack.delivery.load import Load
from fedtrack.delivery.recorded_receiver import RecordedReceiver
from fedtrack.delivery.report import ReceiverTally, count_receiver
from fedtrack.delivery.retry import FIRST_BACKOFF_SECONDS, Later, Retry, describe, traceback_of
from fedtrack.delivery.suspect import NO_PRECAUTIONS, Precautions
from fedtrack.errors import Permanent
from fedtrack.journal.journal import Journal
from fedtrack.tracking.receiver import Receiver, RunInfo

log = logging.getLogger(__name__)

#: The end of a run waits this many times longer for a first ``open``, which may import an SDK and create a database
#: without visible progress.
OPENING_PATIENCE = 4

_POLL_SECONDS = 0.05
_LEAVE_SECONDS = 2.0
#: The longest wait for events without a notification of the journal.
_IDLE_SECONDS = 1.0


class Delivery:
    """Feeds one receiver.

    Args:
        name: The cursor's name in the ledger: the receiver component's id.
        receiver: The receiver, not opened yet; used only by this delivery's thread.
        journal: The journal with the events; only read.
        ledger: The ledger for the results of the delivery.
        run: The run, for the receiver.
        addressed: Whether this receiver listens to the events of a site.
        backoff_seconds: The longest first wait after an error; doubles up to a minute, with full jitter.
        clock: Seconds that never run back.
        calls: Records the receiver's calls.
        precautions: How to feed a receiver that has ended its process.
    """

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        journal: Journal,
        ledger: Ledger,
        run: RunInfo,
        *,
        addressed: Callable[[str], bool] = lambda site: True,
        backoff_seconds: float = FIRST_BACKOFF_SECONDS,
        clock: Callable[[], float] = monotonic,
        calls: CallRecorder | None = None,
        precautions: Precautions = NO_PRECAUTIONS,
    ) -> None:
        self.name = name
        self._receiver = receiver
        self._journal = journal
        self._ledger = ledger
        self._run = run
        self._addressed = addressed
        self._clock = clock
        self._module = type(receiver).__module__
        self._retry = Retry(name, backoff_seconds, self._module)
        self._calls = calls or CallRecorder()
        self._recorded = RecordedReceiver(name, receiver, self._calls)
        self._precautions = precautions
        self._most = 1 if precautions.cautious else receiver.max_records
        self._cursor = ledger.cursor(name)
        self._skipped: Counter[str] = Counter()
        self._load: Load | None = None
        self._refusal: Permanent | None = None
        self._status = "aborted"
        self._opened, self._closed = False, False
        self._draining, self._abandoned, self._told = threading.Event(), threading.Event(), threading.Event()
        self._pausing, self._hurried = threading.Event(), threading.Event()
        self._idle, self._commits = False, 0
        self._not_before = self._called = -math.inf
        self._progress = clock()
        self._thread = threading.Thread(target=self._work, name=f"delivery-{name}", daemon=True)

    def start(self) -> None:
        """Open the receiver and begin to deliver, in the background."""
        self._thread.start()

    def drain(self, status: str) -> None:
        """Note that the journal is complete: the rest is delivered, then the receiver is closed with ``status``."""
        self._status = status
        self._progress = self._clock()
        self._draining.set()
        self._tell()

    def finish(self, stall_seconds: float) -> ReceiverTally:
        """Wait until everything is delivered, or until there was no progress for ``stall_seconds``; then report.

        The time starts at ``drain``, so that several stalled receivers are waited for at once. A first ``open`` that
        has neither succeeded nor failed yet has ``OPENING_PATIENCE`` times as long.
        """
        while self._thread.is_alive():
            self._thread.join(_POLL_SECONDS)
            opening = not self._calls.state.tried
            patience = stall_seconds * OPENING_PATIENCE if opening else stall_seconds
            if self._clock() - self._progress > patience:
                if opening:
                    self._retry.error = "its backend is still being opened"
                self.abandon()
                self._thread.join(_LEAVE_SECONDS)  # one that hangs in a call is left behind with its daemon thread
                break
        return self.report()

    def abandon(self) -> None:
        """Let the receiver be closed after the call in flight."""
        self._abandoned.set()
        self._tell()

    def pause(self) -> None:
        """Let the receiver be closed as soon as what it has in hand is stored, or fails; another delivery goes on."""
        self._pausing.set()
        self._tell()

    def hurry(self) -> None:
        """Let a call that has failed be repeated now: its backend may be back."""
        self._hurried.set()
        self._tell()

    @property
    def over(self) -> bool:
        """Whether the delivery was started and has ended."""
        return self._closed and not self._thread.is_alive()

    def report(self) -> ReceiverTally:
        """Return the current report, with its counts."""
        return count_receiver(self.said(), self._journal, self._ledger, self._addressed)

    def said(self) -> ReceiverTally:
        """Return the current report without its counts."""
        results = self._recorded.results
        return ReceiverTally(
            receiver=self._receiver.name,
            node=self._run.node,
            error=self._retry.error or self._recorded.complaint,
            location=results.location if results else "",
            command=results.command if results else "",
            outage_seconds=self._retry.outage_seconds,
            outage=self._retry.outage,
            id=self.name,
        )

    def step(self, now: float) -> float | None:
        """Do the next piece of work: one call of the receiver, one read of the journal or one write of the ledger.

        Args:
            now: The time, in seconds of the clock.

        Returns:
            Seconds until the next call, which may be earlier if there are more events; None if the delivery is over.
        """
        self._told.clear()
        self._idle = False
        if self._closed:
            return None
        if self._abandoned.is_set():
            log.warning("%s: stopped before it had everything: %s", self.name, self._retry.error or "it was too slow")
            self._close()
            return None
        if self._pausing.is_set() and (self._load is None or self._retry.error):
            self._close()
            return None
        if self._hurried.is_set():
            self._hurried.clear()
            self._not_before = now
        if self._draining.is_set() and not self._retry.draining:
            self._retry.draining, self._not_before = True, now
        if now < self._not_before:
            return self._not_before - now
        try:
            wait = self._next(now)
        except Later as later:
            self._not_before = now + later.seconds
            return later.seconds
        except MemoryError:  # of another receiver, perhaps: there may be memory again
            self._not_before = now + _IDLE_SECONDS
            return _IDLE_SECONDS
        except Exception as error:
            self._retry.error = describe(error, self._module)
            log.error(
                "%s: delivery stopped: %s; its records wait in the journal",
                self.name,
                self._retry.error,
                extra=traceback_of(error, self._module),
            )
            wait = None
        if wait is None:
            self._close()
        return wait

    def _work(self) -> None:
        while True:
            moves = self._calls.state.moves
            wait = self.step(self._clock())
            if self._calls.state.moves != moves:
                self._progress = self._clock()
            if wait is None:
                return
            if wait > 0:
                self._wait(wait)

    def _wait(self, seconds: float) -> None:
        """Wait until there is something to do, at the latest after ``seconds``."""
        if not self._idle:
            self._told.wait(seconds)
            return
        with self._journal.appended:
            # Nothing that may fail or wait belongs here: the journal's writer needs this lock.
            if self._journal.commits == self._commits and not self._told.is_set():
                self._journal.appended.wait(seconds)

    def _tell(self) -> None:
        self._told.set()
        with self._journal.appended:
            self._journal.appended.notify_all()

    def _next(self, now: float) -> float | None:
        load = self._load
        if not self._opened:
            self._retry.call_receiver(lambda: self._recorded.open(self._run), now, patient=True)
            self._opened = True
        elif load is None:
            return self._fetch(now)
        elif load.waiting:
            self._hand_over(load, now)
        elif load.called and not load.flushed:
            # The cursor passes an event only when the event survives SIGKILL in the backend.
            self._retry.call_receiver(self._recorded.flush, now, patient=True)
            load.flushed = True
        else:
            self._advance(load, now)
        return 0.0

    def _close(self) -> None:
        self._closed = True
        error = self._recorded.close(self._status)
        self._retry.error = self._retry.error or error

    def _fetch(self, now: float) -> float | None:
        """Read the journal beyond the cursor; return None when it is complete and delivered."""
        # Both before the journal is read, so that later events are not missed.
        draining, self._commits = self._draining.is_set(), self._journal.commits
        batches = self._retry.use_file(lambda: self._journal.read(self._cursor.batch), now)
        if not batches:
            self._idle = True
            return None if draining else _IDLE_SECONDS
        if not draining and (wait := self._gathers(sum(batch.count for batch in batches), now)) > 0:
            self._not_before = now + wait
            return wait
        receiver = self._receiver
        self._load = Load(
            self.name, batches, receiver.supports, self._addressed, receiver.max_records, self._precautions
        )
        return 0.0

    def _gathers(self, count: int, now: float) -> float:
        """Return how long to wait for more than ``count`` events, if the receiver's last call was just now.

        A backend's cost is per call, so fewer and larger calls are better. Events after a silence, or enough for one
        call, are delivered at once.
        """
        if count >= self._receiver.max_records:
            return 0.0
        return max(0.0, self._called + self._receiver.gather_seconds - now)

    def _hand_over(self, load: Load, now: float) -> None:
        """Give the receiver the next events, in order; those that it refuses become dead letters."""
        part = load.top(self._most)
        load.called = True
        try:
            self._retry.call_receiver(lambda: self._recorded.receive(part), now, part.attempts)
        except Permanent as error:
            self._refusal = error
            load.refused(error)
            self._calls.moved()
        else:
            load.took()
            self._calls.moved(accepted=len(part.events))
            self._most = max(self._most, min(2 * self._most, self._receiver.max_records))

    def _advance(self, load: Load, now: float) -> None:
        old = self._cursor
        skipped = sum(load.skipped.values())
        cursor = Cursor(load.last, old.delivered + load.delivered, old.skipped + skipped, old.dead + len(load.dead))
        write = self._ledger.advance
        self._retry.use_file(lambda: write(self.name, cursor, load.dead, load.skipped, load.damaged), now)
        self._say(load)
        self._cursor, self._load = cursor, None
        if load.called:
            self._called = now
        self._calls.moved()

    def _say(self, load: Load) -> None:
        """Log once that events are refused, and which kinds are skipped."""
        if load.dead and not self._cursor.dead:
            extra = None if self._refusal is None else traceback_of(self._refusal, self._module)
            log.error(
                "%s: refused for good, and kept beside the journal: %s", self.name, load.dead[0].error, extra=extra
            )
        self._refusal = None
        for kind in load.skipped:
            if not self._skipped[kind] and kind not in ("rejected", "gap"):
                log.warning("%s: %s cannot hold %s records; they are counted", self.name, self._receiver.name, kind)
        self._skipped += load.skipped
        for batch in load.damaged:
            log.error("%s: %s are lost: %s", self._journal.path, batch.site, batch.damage)
