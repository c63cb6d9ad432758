"""Feeding: the deliveries of one deliverer, from the journal to the receivers that it has built."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fedtrack.delivery.addressed import addressed
from fedtrack.delivery.calls import Call, CallPage, CallRecorder
from fedtrack.delivery.deliverer.messages import Channel, ReceiverSpec, Said
from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.delivery.report import ReceiverTally
from fedtrack.delivery.retry import describe, traceback_of
from fedtrack.job.resolved_receiver import built_receiver
from fedtrack.journal.journal import Journal
from fedtrack.redaction import redact
from fedtrack.tracking.receiver import Receiver, RunInfo

log = logging.getLogger(__name__)


class Feeding:
    """Feeds receivers; each has a thread of its own.

    Args:
        run: The run.
        journal: The journal, with its ledger beside it.
        receivers: The receivers to build.
        page: Records their calls.
        channel: Takes their reports.
    """

    def __init__(
        self, run: RunInfo, journal: Path, receivers: Sequence[ReceiverSpec], page: CallPage, channel: Channel
    ) -> None:
        self._journal = Journal(journal, read_only=True)
        self._ledger = Ledger(journal.with_name(LEDGER_FILE), self._journal, locked=True)
        self._channel = channel
        self._said: dict[str, Said] = {}
        self._deliveries: dict[str, Delivery] = {}
        for spec in receivers:
            calls = CallRecorder(partial(page.write, spec.place))
            try:
                with calls.during(Call.BUILD):
                    receiver = built(spec)
            except BaseException as error:
                log.error("%s cannot be built: %s", spec.id, describe(error), extra=traceback_of(error))
                self._say(Said(spec.id, f"it cannot be built: {describe(error)}", over=True))
                continue
            self._deliveries[spec.id] = Delivery(
                spec.id,
                receiver,
                self._journal,
                self._ledger,
                run,
                addressed=addressed(run, receiver),
                calls=calls,
                precautions=spec.precautions,
            )
        for delivery in self._deliveries.values():
            delivery.start()

    @property
    def over(self) -> bool:
        """Whether every receiver is closed."""
        return all(delivery.over for delivery in self._deliveries.values())

    def wake(self) -> None:
        """Note that there are new events."""
        self._journal.announce()

    def drain(self, status: str) -> None:
        """Note that the journal is complete; see ``Delivery.drain``."""
        for delivery in self._deliveries.values():
            delivery.drain(status)

    def abandon(self, id_: str) -> None:
        """Close a receiver after the call in flight."""
        if id_ in self._deliveries:
            self._deliveries[id_].abandon()

    def pause(self, id_: str) -> None:
        """Close a receiver in order; see ``Delivery.pause``."""
        if id_ in self._deliveries:
            self._deliveries[id_].pause()

    def hurry(self) -> None:
        """Let every receiver try again now."""
        for delivery in self._deliveries.values():
            delivery.hurry()

    def tell(self) -> None:
        """Send what has changed."""
        for delivery in self._deliveries.values():
            over = delivery.over  # before the rest, so that the last report is complete
            self._say(_said(delivery.said(), over=over))

    def close(self) -> None:
        """Send the last reports, and close the files."""
        self.tell()
        self._ledger.close()
        self._journal.close()

    def _say(self, said: Said) -> None:
        if self._said.get(said.id) != said:
            self._said[said.id] = said
            self._channel.send(said)


def built(spec: ReceiverSpec) -> Receiver:
    """Build a receiver, with the environment of this process in its arguments."""
    return built_receiver(spec.name, spec.args, spec.id)


def _said(tally: ReceiverTally, *, over: bool) -> Said:
    error, location, command, outage = map(redact, (tally.error, tally.location, tally.command, tally.outage))
    return Said(tally.id, error, location, command, outage, tally.outage_seconds, over=over)
