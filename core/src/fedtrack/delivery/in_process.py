"""InProcess: receivers that are fed by threads of this process, for tests of receivers that are no plugins."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fedtrack.delivery.addressed import addressed
from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import Ledger
from fedtrack.delivery.report import ReceiverTally
from fedtrack.journal.journal import Journal
from fedtrack.tracking.receiver import Receiver, RunInfo


class InProcess:
    """Feeds receivers as a ``Supervisor`` does, without its protection."""

    def __init__(self) -> None:
        self._deliveries: dict[str, Delivery] = {}

    def serve(self, run: RunInfo, receivers: Mapping[str, Receiver], journal: Journal, ledger: Ledger) -> None:
        """See ``Supervisor.serve``."""
        self._deliveries = {
            id_: Delivery(id_, receiver, journal, ledger, run, addressed=addressed(run, receiver))
            for id_, receiver in receivers.items()
        }
        for delivery in self._deliveries.values():
            delivery.start()

    def drain(self, status: str) -> None:
        """See ``Supervisor.drain``."""
        for delivery in self._deliveries.values():
            delivery.drain(status)

    def finish(self, stall_seconds: float, limit: float = math.inf) -> list[ReceiverTally]:
        """See ``Supervisor.finish``."""
        return [delivery.finish(min(stall_seconds, limit)) for delivery in self._deliveries.values()]

    def waiting(self) -> dict[str, str]:
        """See ``Supervisor.waiting``."""
        return {}

    def close(self) -> None:
        """Do nothing: threads that hang end with this process."""
