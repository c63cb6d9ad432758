"""Errands: a thread that does what other processes ask, in the process that delivers from the journal.

Only this process may write ``delivery.db`` and the journal, and only its deliverers have the receivers open.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from time import monotonic

import msgspec

from fedtrack.delivery.delivered import delete_delivered
from fedtrack.delivery.deliverer.supervisor import Supervisor
from fedtrack.delivery.errands.mailbox import Mailbox
from fedtrack.delivery.errands.messages import Answer, Drop, Errand, Prune, Replay, Retry
from fedtrack.delivery.ledger import Cursor, Ledger
from fedtrack.delivery.other_receiver import other_receiver
from fedtrack.delivery.second_try import try_again
from fedtrack.errors import ConfigError, FedtrackError, WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.redaction import redact
from fedtrack.tracking.receiver import Receiver, RunInfo

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_LEAVE_SECONDS = 5.0

#: The status with which a receiver is closed that others opened only for an errand: the run has no other one yet.
_STATUS = "aborted"


class Errands:
    """The thread; it does one errand after the other.

    Args:
        run: The run.
        receivers: The receivers of the node, by id.
        journal: The journal, which this process writes.
        ledger: Its ledger, whose lock this process has.
        supervisor: Feeds the receivers.
    """

    def __init__(
        self,
        run: RunInfo,
        receivers: Mapping[str, Receiver],
        journal: Journal,
        ledger: Ledger,
        supervisor: Supervisor,
    ) -> None:
        self._run, self._receivers = run, receivers
        self._journal, self._ledger, self._supervisor = journal, ledger, supervisor
        self._mailbox = Mailbox(run.folder)
        self._guest: Supervisor | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="errands", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._mailbox.clear()
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more: the run ends. Those who wait for an answer see that, and go on without this process."""
        self._stopped.set()
        if (guest := self._guest) is not None:
            guest.close()

    def close(self) -> None:
        """Stop, and wait a while for an errand in progress."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_SECONDS)

    def _work(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            for id_, errand in self._mailbox.asked():
                answer = None if self._stopped.is_set() else self._do(errand)
                if answer is not None:
                    self._mailbox.answer(id_, answer)

    def _do(self, errand: Errand | None) -> Answer | None:
        """Do an errand; return None if the end of the run came in between."""
        try:
            if isinstance(errand, Replay):
                done = self._replay(errand)
                return None if self._stopped.is_set() else done
            if isinstance(errand, Retry):
                return self._retry(errand)
            if isinstance(errand, Drop):
                letters = self._ledger.dead_letters(errand.receiver)
                self._ledger.settle(errand.receiver, [], dropped=letters)
                return Answer(count=len(letters))
            if isinstance(errand, Prune):
                return self._prune(errand)
            return Answer("The run's process is of another version and does not know this request; wait for its end.")
        except FedtrackError as error:
            return Answer(redact(str(error)))
        except Exception as error:
            if self._stopped.is_set():
                return None
            log.exception("%s: an errand failed", self._run.folder)
            return Answer(f"The run's process could not do it: {type(error).__name__}: {redact(str(error))}.")

    def _replay(self, errand: Replay) -> Answer:
        if errand.other is not None:
            return self._deliver_to_other(errand.other, again=errand.again, patience=errand.patience)
        before = {id_: Cursor() if errand.again else self._ledger.cursor(id_) for id_ in self._receivers}
        for id_ in self._receivers if errand.again else ():
            with self._supervisor.paused(id_, errand.patience):
                self._ledger.rewind(id_)
        last = self._journal.last_batch()
        self._supervisor.hurry()
        self._wait(last, errand.patience)
        answer = self._answer()
        for id_, old in before.items():
            report = self._supervisor.report(id_)
            if self._ledger.cursor(id_).batch >= last:  # what was logged since then is no part of the errand
                report = msgspec.structs.replace(report, pending=0)
            answer.reports.append(report)
            answer.new[id_] = report.delivered - old.delivered
        return answer

    def _wait(self, last: int, patience: float) -> None:
        """Wait until every receiver has the batches up to ``last``, or there was no progress for ``patience``."""
        seen: dict[str, int] = {}
        moved = monotonic()
        while not self._stopped.wait(_POLL_SECONDS):
            cursors = {id_: self._ledger.cursor(id_).batch for id_ in self._receivers}
            if cursors != seen:
                seen, moved = cursors, monotonic()
            if all(batch >= last for batch in cursors.values()) or monotonic() - moved > patience:
                return

    def _deliver_to_other(self, other: tuple[str, Mapping[str, object]], *, again: bool, patience: float) -> Answer:
        """Deliver everything to a receiver that the job does not name, by a process of its own."""
        id_, receiver = other_receiver(*other)
        if again:
            self._ledger.rewind(id_)
        before = self._ledger.cursor(id_)
        self._guest = guest = Supervisor()
        try:
            guest.serve(self._run, {id_: receiver}, self._journal, self._ledger)
            guest.drain(_STATUS)
            (report,) = guest.finish(patience)
        finally:
            self._guest = None
            guest.close()
        answer = self._answer()
        answer.reports.append(report)
        answer.new[id_] = report.delivered - before.delivered
        return answer

    def _answer(self) -> Answer:
        gaps = [(gap.site, gap.reason) for gap in self._ledger.gaps(self._journal)]
        return Answer(journaled=self._journal.counts(), gaps=gaps, reports=[], new={})

    def _retry(self, errand: Retry) -> Answer:
        id_ = errand.receiver
        if id_ not in self._receivers:
            raise ConfigError(f"The job does not name a receiver {id_!r}; its dead letters can only be dropped.")
        with self._supervisor.paused(id_, errand.patience):
            done = try_again(id_, self._receivers[id_], self._ledger, self._run, _STATUS, errand.patience)
        return Answer(count=done.delivered, refused=done.refused, reason=done.error)

    def _prune(self, errand: Prune) -> Answer:
        if self._journal.damage:
            raise WorkspaceError(
                f"{self._journal.path} is damaged, and nothing was deleted: {self._journal.damage}; try "
                "'fedtrack runs salvage' when the run is over."
            )
        return Answer(count=delete_delivered(self._journal, self._ledger, self._receivers, errand.older_than_days))
