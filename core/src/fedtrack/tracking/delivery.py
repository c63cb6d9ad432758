"""Delivery: hands the journal's events to one receiver, in a thread and with a cursor of its own.

A receiver that hangs, raises or is slow delays nobody else: not the other receivers, not the journal, and least of
all a training. There is no give-up: what a backend cannot take now stays in the journal until it can.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import NamedTuple, TypeVar

import msgspec

from fedtrack.errors import DamagedError, FedtrackError, Permanent, Transient, WorkspaceError
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
_POLL_SECONDS = 0.05
_LEAVE_SECONDS = 2.0

#: Errors of the disk or the network on which a receiver's records can wait.
_OUTAGES = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH))

_T = TypeVar("_T")


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
        outage_seconds: For how long in all the backend took nothing, and then worked again.
        outage: What it said then, at the last time.
    """

    name: str
    receiver: str
    delivered: int
    skipped: dict[str, int]
    dead: int
    pending: int
    error: str
    results: Results | None
    outage_seconds: float = 0.0
    outage: str = ""


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
        self._failing_since = 0.0
        self._outage_seconds = 0.0
        self._outage = ""
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
        self._progress = monotonic()
        self._draining.set()
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
                    self._error = "its backend is still being opened"
                self._abandoned.set()
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
            error=self._error,
            results=self._results,
            outage_seconds=self._outage_seconds,
            outage=self._outage,
        )

    def _work(self) -> None:
        try:
            self._persist(self._open, patient=True)
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

    def _wake(self) -> None:
        with self._journal.appended:
            self._journal.appended.notify_all()

    def _close(self) -> None:
        try:
            self._receiver.close(self._status)
        except BaseException as error:  # a backend that calls sys.exit() ends its delivery, not in silence
            self._error = self._error or _describe(error)
            log.error("%s: closing failed: %s", self.name, _describe(error))
        if self._results is not None:
            with contextlib.suppress(Exception):  # what it leaves to be done may be known only now
                self._results = self._receiver.results() or self._results

    def _deliver_next(self) -> bool:
        """Deliver what the journal holds beyond the cursor; False once it is complete and delivered."""
        # Both before the journal is read: what comes later is not missed.
        draining, commits = self._draining.is_set(), self._journal.commits
        batches = self._insist(lambda: self._journal.read(self._cursor.batch))
        if not batches:
            if draining:
                return False
            self._wait_for_more(commits)
            return True
        delivered = 0
        for (site, stream), events in self._grouped(batches).items():
            for start in range(0, len(events), self._receiver.max_records):
                delivered += self._hand_over(site, stream, events[start : start + self._receiver.max_records])
        # The cursor moves only when what it passes survives SIGKILL in the backend.
        self._persist(self._receiver.flush, patient=True)
        self._advance(batches[-1].id, delivered)
        return True

    def _wait_for_more(self, commits: int) -> None:
        with self._journal.appended:
            # Nothing that may fail or wait belongs in here: whoever writes the journal needs this lock.
            if self._abandoned.is_set():
                raise Abandoned
            if self._journal.commits != commits or self._draining.is_set():
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
                try:
                    record = decode(payload)
                except msgspec.DecodeError as error:
                    self._bury(batch.id, seq, bytes(payload), f"not a record that this version knows: {error}")
                    continue
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
        cursor = Cursor(batch, old.delivered + delivered, old.skipped + self._batch_skipped, old.dead + len(dead))
        self._insist(lambda: self._journal.advance(self.name, cursor, dead))
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
                self._persist(partial(self._receiver.receive, batch), attempts)
                taken += len(part)
            except Permanent as error:
                # What has failed often enough as a whole is not tried as often again in each half.
                attempts = 1 if isinstance(error, _TriedOften) else attempts
                waiting += [(rest, attempts) for rest in reversed(self._sort_out(part, error))]
            self._progress = monotonic()
        return taken

    def _sort_out(self, events: list[_Event], error: Permanent) -> list[list[_Event]]:
        """Set aside those of ``events`` that are known to be refused; return the rest as what to try next."""
        refused = {index for index in error.indices or () if 0 <= index < len(events)}
        if len(events) == 1:
            refused = {0}
        for index in sorted(refused):
            batch, seq, record = events[index]
            self._bury(batch, seq, encode(record), str(error))
        if refused:
            rest = [event for index, event in enumerate(events) if index not in refused]
            return [rest] if rest else []
        middle = len(events) // 2
        return [events[:middle], events[middle:]]

    def _bury(self, batch: int, seq: int, payload: bytes, error: str) -> None:
        if not self._cursor.dead and not self._dead:
            log.error("%s: refused for good, and kept in the journal: %s", self.name, error)
        self._dead.append(DeadLetter(self.name, batch, seq, error, payload))

    def _persist(
        self, call: Callable[[], None], attempts: int = UNKNOWN_ERROR_ATTEMPTS, *, patient: bool = False
    ) -> None:
        """Call until it succeeds, with a growing, jittered wait after each failure.

        Args:
            call: What to do.
            attempts: How often an exception that does not say that waiting helps may occur.
            patient: Whether it may occur any number of times until the journal is complete.

        Raises:
            Permanent: The receiver raised it, or met damaged data, or failed in an unknown way too often.
            FedtrackError: The receiver raised it: its configuration is wrong, and waiting will not help.
            Abandoned: Delivery was told to stop.
        """
        attempt = unknown = 0
        while True:
            if self._abandoned.is_set():
                raise Abandoned
            try:
                call()
            except DamagedError as error:  # a record's blob, for example; the records beside it are fine
                raise Permanent(str(error)) from error
            except (Permanent, FedtrackError):
                raise
            except BaseException as error:  # also what an SDK raises to end the process it thinks is its own
                unknown += not _is_outage(error)
                if unknown >= attempts and not (patient and not self._draining.is_set()):
                    raise _TriedOften(_describe(error)) from error
                self._pause(error, attempt)
                attempt += 1
            else:
                self._works_again()
                return

    def _insist(self, call: Callable[[], _T]) -> _T:
        """Call the journal until it answers: its disk may be full now, and have room again later."""
        attempt = 0
        while True:
            try:
                result = call()
            except (WorkspaceError, sqlite3.Error) as error:
                if self._abandoned.is_set():
                    raise Abandoned from None
                self._pause(error, attempt)
                attempt += 1
            else:
                self._works_again()
                return result

    def _pause(self, error: BaseException, attempt: int) -> None:
        if not self._error:
            self._failing_since = monotonic()
            log.warning("%s: %s; its records wait in the journal", self.name, _describe(error))
        self._error = _describe(error)
        longest = min(self._backoff_seconds * 2 ** min(attempt, 16), _LONGEST_BACKOFF_SECONDS)
        self._abandoned.wait(self._random.uniform(0, longest))

    def _works_again(self) -> None:
        if self._error:
            seconds = monotonic() - self._failing_since
            log.warning("%s: works again after %.1f s", self.name, seconds)
            self._outage_seconds += seconds
            self._outage, self._error = self._error, ""


class _TriedOften(Permanent):
    """An exception of an unknown kind that came as often as is allowed."""


def _is_outage(error: BaseException) -> bool:
    """Return whether waiting helps: the receiver says so, or the network or the disk is what failed."""
    if isinstance(error, Transient | ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _OUTAGES


def _describe(error: BaseException) -> str:
    return (
        str(error) if isinstance(error, Transient | Permanent | FedtrackError) else f"{type(error).__name__}: {error}"
    )
