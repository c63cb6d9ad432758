"""ReceiverHost: a node's journal, its ledger, its sources and its receivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.delivery.report import ReceiverTally
from fedtrack.journal.journal import Journal, StoredGap
from fedtrack.plugins import registry
from fedtrack.tracking.events import FED_EVENT, LOCAL_EVENT, SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo, listened_events
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource

#: Seconds without progress after the last round until a receiver is left behind. The journal keeps its records, and a
#: replay delivers them.
STALL_SECONDS = 30.0


class ReceiverHost:
    """Runs the receivers of one node.

    Args:
        run: The run, for the receivers.
        receivers: The receivers by component id, not opened yet.

    Raises:
        WorkspaceError: Another process delivers from the journal, or one of the files cannot be used.
        DamagedError: A newer version of fedtrack wrote one of the files.
    """

    def __init__(self, run: RunInfo, receivers: Mapping[str, Receiver]) -> None:
        self.run = run
        self.journal = Journal(run.folder / "journal.db")
        try:
            self.ledger = Ledger(run.folder / LEDGER_FILE, self.journal)
        except BaseException:
            self.journal.close()
            raise
        self.journal.set_meta("run_id", run.run_id)
        self.journal.set_meta("job_name", run.job_name)
        self.forwarder = Forwarder()
        self._own_only = {
            id_ for id_, item in receivers.items() if run.node == SERVER and not hears_sites(SERVER, item)
        }
        self._deliveries = [
            Delivery(id_, receiver, self.journal, self.ledger, run, addressed=addressed(run, receiver))
            for id_, receiver in receivers.items()
        ]

    def start(self) -> None:
        """Begin to forward and to deliver."""
        self.forwarder.start()
        for delivery in self._deliveries:
            delivery.start()

    def add_source(self, source: SpoolSource) -> None:
        """Forward the events of one more spool into the journal."""
        self.forwarder.add(source)

    def finish(self, status: str, stall_seconds: float = STALL_SECONDS) -> list[ReceiverTally]:
        """Forward the rest of the spools, deliver it, close the receivers and report."""
        self.forwarder.stop()
        for delivery in self._deliveries:
            delivery.drain(status)
        reports = [delivery.finish(stall_seconds) for delivery in self._deliveries]
        return [msgspec.structs.replace(report, own_only=report.id in self._own_only) for report in reports]

    def gaps(self) -> list[StoredGap]:
        """Return the losses: those recorded in the journal, and the damage that deliveries found in it."""
        return self.ledger.gaps(self.journal)

    def close(self) -> None:
        """Close the journal and the ledger."""
        self.ledger.close()
        self.journal.close()

    def notify(self, hook: str, **arguments: object) -> None:
        """Call a life-cycle hook of every plugin; an error of one is logged and stops no other plugin."""
        registry().notify(hook, run=self.run, **arguments)


def addressed(run: RunInfo, receiver: Receiver) -> Callable[[str], bool]:
    """Return a function that tells whether a receiver listens to a site's events.

    At a site, all events in the journal are the site's own. On the server, events of sites are federated events. The
    server's own records are local and federated at once, so every receiver shows them.
    """
    if run.node != SERVER or hears_sites(run.node, receiver):
        return lambda site: True
    return lambda site: site == SERVER


def hears_sites(node: str, receiver: Receiver) -> bool:
    """Return whether a receiver on ``node`` listens to the events of sites."""
    return FED_EVENT in listened_events(receiver, FED_EVENT if node == SERVER else LOCAL_EVENT)
