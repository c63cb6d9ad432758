"""ReceiverHost: a node's journal, its ledger, its sources and its receivers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from fedtrack.delivery.addressed import addressed, hears_sites
from fedtrack.delivery.deliverer.supervisor import Supervisor
from fedtrack.delivery.errands.errands import Errands
from fedtrack.delivery.in_process import InProcess
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.delivery.report import ReceiverTally, count_receiver
from fedtrack.journal.journal import Journal, StoredGap
from fedtrack.plugins import registry
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource
from fedtrack.view.follower import ViewFollower
from fedtrack.view.options import ViewOptions

#: Seconds without progress after the last round until a receiver is left behind. The journal keeps its records, and a
#: replay delivers them.
STALL_SECONDS = 30.0


#: Seconds to wait for a deliverer whose server was killed: it ends by itself, unless a call of a receiver holds it up.
_ORPHAN_SECONDS = 15.0


class ReceiverHost:
    """Runs the receivers of one node: its own process writes the journal, deliverers feed the receivers.

    Args:
        run: The run, for the receivers.
        receivers: The receivers by component id, which are never opened in this process.
        feeder: Feeds the receivers; a supervisor that has prepared them, for example.
        view: How the sites are compared; None compares nothing.

    Raises:
        WorkspaceError: Another process delivers from the journal, or one of the files cannot be used.
        DamagedError: A newer version of fedtrack wrote one of the files.
    """

    def __init__(
        self,
        run: RunInfo,
        receivers: Mapping[str, Receiver],
        feeder: Supervisor | InProcess | None = None,
        view: ViewOptions | None = None,
    ) -> None:
        self.run = run
        self.feeder = Supervisor() if feeder is None else feeder
        self.journal = Journal(run.folder / "journal.db")
        try:
            self.ledger = Ledger(run.folder / LEDGER_FILE, self.journal, patience=_ORPHAN_SECONDS)
        except BaseException:
            self.journal.close()
            raise
        self.journal.set_meta("run_id", run.run_id)
        self.journal.set_meta("job_name", run.job_name)
        self.forwarder = Forwarder()
        self._view = None
        if view is not None and view.mode != "off":
            self._view = ViewFollower(self.journal, view, run.sites)
        self._own_only = {
            id_ for id_, item in receivers.items() if run.node == SERVER and not hears_sites(SERVER, item)
        }
        self._receivers = dict(receivers)
        self._started = False
        self._errands: Errands | None = None
        if isinstance(self.feeder, Supervisor):
            self._errands = Errands(run, self._receivers, self.journal, self.ledger, self.feeder)

    def start(self) -> None:
        """Begin to forward, to deliver, and to do what other processes ask; see ``errands``."""
        self._started = True
        self.forwarder.start()
        if self._view is not None:
            self._view.start()
        self.feeder.serve(self.run, self._receivers, self.journal, self.ledger)
        if self._errands is not None:
            self._errands.start()

    def add_source(self, source: SpoolSource) -> None:
        """Forward the events of one more spool into the journal."""
        self.forwarder.add(source)

    def finish(
        self, status: str, stall_seconds: float = STALL_SECONDS, limit: float = math.inf, *, goes_on: bool = False
    ) -> list[ReceiverTally]:
        """Forward the rest of the spools, complete the view, deliver, close the receivers and report.

        Args:
            status: How the run has ended.
            stall_seconds: See ``Supervisor.finish``.
            limit: See ``Supervisor.finish``.
            goes_on: Whether another process continues the run, so that open rounds of the view stay open.
        """
        if self._errands is not None:
            self._errands.stop()
        self.forwarder.stop()
        if self._view is not None:
            self._view.finish("running" if goes_on else status, limit)
        if self._started:
            self.feeder.drain(status)
            reports = self.feeder.finish(stall_seconds, limit)
        else:
            reports = [self._unfed(id_, receiver) for id_, receiver in self._receivers.items()]
        return [msgspec.structs.replace(report, own_only=report.id in self._own_only) for report in reports]

    def _unfed(self, id_: str, receiver: Receiver) -> ReceiverTally:
        tally = ReceiverTally(receiver.name, self.run.node, id=id_)
        return count_receiver(tally, self.journal, self.ledger, addressed(self.run, receiver))

    def waiting(self) -> dict[str, str]:
        """Return the receivers that the end of the run waits for, and what each of them is doing."""
        return self.feeder.waiting()

    def gaps(self) -> list[StoredGap]:
        """Return the losses: those recorded in the journal, and the damage that deliveries found in it."""
        return self.ledger.gaps(self.journal)

    def close(self) -> None:
        """End the deliverers, and close the journal and the ledger."""
        if self._errands is not None:
            self._errands.close()
        self.feeder.close()
        self.ledger.close()
        self.journal.close()

    def notify(self, hook: str, **arguments: object) -> None:
        """Call a life-cycle hook of every plugin; an error of one is logged and stops no other plugin."""
        registry().notify(hook, run=self.run, **arguments)
