"""Supervisor: starts the processes that feed a node's receivers, and starts them again when they die.

One process serves all receivers. A receiver whose call was in flight when its process died has a process of its own
from then on.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

from fedtrack.delivery.addressed import addressed
from fedtrack.delivery.deliverer.death import blame
from fedtrack.delivery.deliverer.ears import Ears
from fedtrack.delivery.deliverer.evidence import death_of
from fedtrack.delivery.deliverer.messages import Logged, Said, facts_of, spec_of
from fedtrack.delivery.deliverer.standing import Standing
from fedtrack.delivery.deliverer.surroundings import LOG_FILE
from fedtrack.delivery.deliverer.waker import Waker
from fedtrack.delivery.deliverer.worker import Worker
from fedtrack.delivery.delivery import OPENING_PATIENCE
from fedtrack.delivery.ledger import Cursor, Ledger
from fedtrack.delivery.report import ReceiverTally, count_receiver
from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.tracking.receiver import Receiver, RunInfo

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
_LEAVE_SECONDS = 2.0
_AGAIN_SECONDS = 1.0

#: A wait of at least this many seconds is worth a word.
_SAID_SECONDS = 1.0


class Start(NamedTuple):
    """Receivers that get one process together, and when."""

    at: float
    standings: list[Standing]


class Supervisor:
    """The deliverers of one node; any thread may use it.

    ``prepare`` may come first, then come ``serve``, ``drain``, ``finish`` and ``close``. No method waits for a
    receiver, except ``finish``.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._standings: dict[str, Standing] = {}
        self._prepared: Worker | None = None
        self._workers: list[Worker] = []
        self._starts: list[Start] = []
        self._status = ""
        self._drained = math.inf
        self._closing = False
        self._ears: Ears | None = None
        self._waker: Waker | None = None

    def prepare(self, receivers: Mapping[str, Receiver]) -> None:
        """Start the process, and let the receivers import what they need; their run begins soon."""
        if receivers:
            self._prepared = Worker(len(receivers))
            self._prepared.prepare([spec_of(id_, receiver) for id_, receiver in receivers.items()])

    def serve(self, run: RunInfo, receivers: Mapping[str, Receiver], journal: Journal, ledger: Ledger) -> None:
        """Feed the receivers with what is and comes into the journal.

        Args:
            run: The run.
            receivers: The receivers by component id; this process never opens them.
            journal: The journal, which this process writes.
            ledger: Its ledger; this process has its lock and no longer writes it.
        """
        self._journal, self._ledger, self._run, self._facts = journal, ledger, run, facts_of(run)
        self._standings = {
            id_: Standing(receiver, spec_of(id_, receiver), addressed(run, receiver))
            for id_, receiver in receivers.items()
        }
        if not self._standings:
            self._drop_prepared()
            return
        self._ears = Ears()
        with self._changed:
            self._start(list(self._standings.values()))
        self._waker = Waker(journal, lambda: list(self._workers))
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    def drain(self, status: str) -> None:
        """Note that the journal is complete: the rest is delivered, then receivers are closed with ``status``."""
        with self._changed:
            if self._status:
                return
            self._status, self._drained = status, monotonic()
            for standing in self._standings.values():
                standing.progressed = self._drained
            for worker in self._workers:
                worker.drain(status)

    def finish(self, stall_seconds: float, limit: float = math.inf) -> list[ReceiverTally]:
        """Wait until every receiver has everything or was left behind, and report.

        Args:
            stall_seconds: Seconds without progress until a receiver is left behind; a first ``open`` that has neither
                succeeded nor failed yet has ``OPENING_PATIENCE`` times as long. The time starts at ``drain``.
            limit: Seconds after which every receiver is left behind.
        """
        end = monotonic() + limit
        with self._changed:
            while any(not standing.over for standing in self._standings.values()) and not self._closing:
                self._changed.wait(_POLL_SECONDS)
                for standing in self._standings.values():
                    if not standing.over:
                        self._judge(standing, stall_seconds, end)
        return [self.report(id_) for id_ in self._standings]

    def report(self, id_: str) -> ReceiverTally:
        """Return the current report about a receiver."""
        with self._changed:
            standing = self._standings[id_]
            report = standing.report(self._run.node)
        return count_receiver(report, self._journal, self._ledger, standing.listens)

    def waiting(self) -> dict[str, str]:
        """Return the receivers that the end of the run waits for, and what each of them is doing."""
        with self._changed:
            if monotonic() - self._drained < _SAID_SECONDS:
                return {}
            return {id_: item.waits_for() for id_, item in self._standings.items() if not item.over}

    def hurry(self) -> None:
        """Let every receiver try again now, also one that was given up or whose delivery has stopped."""
        with self._changed:
            now = monotonic()
            for item in self._standings.values():
                if item.over and not item.paused and not self._status:
                    item.begin_again()
                    self._starts.append(Start(now, [item]))
            self._starts = [start._replace(at=now) for start in self._starts]
            for worker in self._workers:
                worker.hurry()

    @contextmanager
    def paused(self, id_: str, patience: float) -> Iterator[None]:
        """Close a receiver in order, and let no process open it until the end of the block; then it goes on.

        Args:
            id_: The receiver.
            patience: Seconds to wait until it is closed.

        Raises:
            WorkspaceError: It is still in a call after that, or the run ends. It goes on as before.
        """
        item = self._standings[id_]
        with self._changed:
            if self._status or self._closing:
                raise WorkspaceError(f"The run ends, and {id_} gets the rest now; try again when the run is over.")
            item.paused = True
            self._starts = [
                start._replace(standings=[other for other in start.standings if other is not item])
                for start in self._starts
            ]
            item.pausing = item.worker is not None and not item.over
        try:
            self._wait_for_pause(item, patience)
            yield
        finally:
            with self._changed:
                item.paused = False
                if not item.pausing and item.abandoned is None:
                    item.begin_again()
                    self._starts.append(Start(monotonic(), [item]))

    def _wait_for_pause(self, item: Standing, patience: float) -> None:
        end = monotonic() + patience
        with self._changed:
            while item.pausing:
                if monotonic() > end or self._closing:
                    reason = item.reason() or "it was too slow"
                    raise WorkspaceError(f"{item.id} could not be closed: {reason}; nothing was changed.")
                if item.worker is not None:  # again and again: a process that starts does not hear it yet
                    item.worker.pause(item.id)
                self._changed.wait(_POLL_SECONDS)

    def close(self) -> None:
        """End every process; what is not delivered is kept."""
        self._drop_prepared()
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._starts.clear()
        if self._waker is not None and self._ears is not None:
            self._waker.stop()
            self._thread.join()
            self._ears.close()
        for worker in self._workers:
            worker.channel.close()
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _drop_prepared(self) -> None:
        if self._prepared is not None:
            self._prepared.close()
            self._prepared = None

    def _judge(self, standing: Standing, stall_seconds: float, end: float) -> None:
        """Leave a receiver behind if it has made no progress for long enough."""
        standing.look()
        now, patience = monotonic(), stall_seconds * (1 if standing.tried else OPENING_PATIENCE)
        if standing.abandoned is not None:
            standing.over = now - standing.abandoned > _LEAVE_SECONDS
        elif now - standing.progressed > patience or now > end:
            standing.left = standing.reason()
            standing.abandoned = now
            log.warning("%s: left behind: %s", standing.id, standing.report("").error or "it was too slow")
            if standing.worker is None:
                standing.over = True
            else:
                standing.worker.abandon(standing.id)

    def _watch(self) -> None:
        """Hear what the processes say, and keep them alive."""
        assert self._ears is not None  # noqa: S101 - the caller has made them
        while not self._closing:
            heard, ended = self._ears.listen()
            with self._changed:
                said = [message for message in heard if isinstance(message, Said)]
                for message in said:
                    self._note(message)
                for worker in ended:
                    self._bury(worker)
                if not self._ears.dozed:
                    for worker in self._workers:
                        if worker.is_silent():
                            worker.kill()
                for standing in self._standings.values():
                    standing.look()
                self._start_due()
                self._changed.notify_all()
            for logged in heard:
                if isinstance(logged, Logged):
                    extra = {"traceback": logged.traceback} if logged.traceback else None
                    text = f"{logged.text}; traceback: {self._run.folder / LOG_FILE}" if logged.kept else logged.text
                    logging.getLogger(logged.name).log(logged.level, "%s", text, extra=extra)

    def _note(self, said: Said) -> None:
        standing = self._standings[said.id]
        standing.said = said
        if said.over and standing.pausing:
            standing.leave_process()
            if not standing.paused:  # nobody waits for it any longer
                self._starts.append(Start(monotonic(), [standing]))
        elif said.over:
            standing.over, standing.trouble = True, ""

    def _bury(self, worker: Worker) -> None:
        """Take what the death of a process proves into account, and plan the next process of its receivers."""
        assert self._ears is not None  # noqa: S101 - the caller has heard it with them
        self._ears.forget(worker)
        self._workers.remove(worker)
        status, silent = worker.reap()
        left = [item for item in self._standings.values() if item.worker is worker and not item.over]
        if left and not self._closing:
            self._plan(worker, left, status, silent=silent)
        for item in self._standings.values():
            if item.worker is worker:
                item.worker = None
        worker.close()

    def _plan(self, worker: Worker, left: Sequence[Standing], status: int, *, silent: bool) -> None:
        death = death_of(status, silent=silent)
        cursors = self._ledger.cursors()
        alone = blame(death, worker, left, cursors)
        names = ", ".join(item.id for item in left)
        log.error("The process that delivers to %s was ended by %s.", names, death.text)
        together: list[tuple[float, Standing]] = []
        for item in left:
            at = monotonic() + item.died(
                death.text,
                cursors.get(item.id, Cursor()).batch,
                proves=death.proves,
                draining=bool(self._status),
            )
            if item.evidence.given_up:
                log.error("%s: given up: %s; its records are kept", item.id, item.evidence.given_up)
            if item.evidence.given_up or item.abandoned is not None:
                item.over = True
            elif item.paused:
                continue  # it starts at the end of the pause
            elif item in alone:
                self._starts.append(Start(at, [item]))
            else:
                together.append((at, item))
        if together:
            self._starts.append(Start(max(at for at, _ in together), [item for _, item in together]))

    def _start_due(self) -> None:
        now = monotonic()
        for start in [start for start in self._starts if start.at <= now]:
            self._starts.remove(start)
            self._start([item for item in start.standings if not item.over and not item.paused])

    def _start(self, standings: list[Standing]) -> None:
        """Start a process for these receivers, or use the one that has prepared them."""
        if not standings:
            return
        assert self._ears is not None and self._ledger.lock is not None  # noqa: S101, PT018 - ``serve`` has made them
        try:
            worker, self._prepared = self._prepared or Worker(len(standings)), None
            if worker.places < len(standings):
                worker.close()
                worker = Worker(len(standings))
        except OSError as error:
            log.warning("No process can be started to deliver: %s", error)
            self._starts.append(Start(monotonic() + _AGAIN_SECONDS, standings))
            return
        specs, lock = [item.current_spec() for item in standings], self._ledger.lock.descriptor
        worker.serve(self._facts, self._journal.path, specs, self._status, lock)
        for item in standings:
            item.worker = worker
        self._workers.append(worker)
        self._ears.add(worker)
