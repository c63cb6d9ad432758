"""CollectedRun: one run of somebody else's federation: its journal, its intake and its receivers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, time_ns
from uuid import uuid4

from fedtrack.connection.run_folder import RunFolder
from fedtrack.delivery.host import ReceiverHost
from fedtrack.delivery.report import ReceiverTally
from fedtrack.errors import WorkspaceError
from fedtrack.policy.run_terms import load as load_terms
from fedtrack.runs.kept_receivers import NamedReceiver, built, keep_receivers
from fedtrack.runs.live_run import LiveRun
from fedtrack.runs.result import RunResult
from fedtrack.runs.tally import CountedSite, Goodbye, take_tally
from fedtrack.runs.workspace import Workspace
from fedtrack.spool.segments import is_open, list_streams
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import RunInfo
from fedtrack.transport.guard import Guard
from fedtrack.transport.intake import Intake
from fedtrack.transport.quota import Quota
from fedtrack.transport.spool_source import SpoolSource
from fedtrack.view.options import ViewOptions

log = logging.getLogger(__name__)

#: Seconds without progress until a receiver is left behind, when a run is closed; its records stay in the journal.
_STALL_SECONDS = 30.0


class CollectedRun:
    """An open run; several threads may call ``handle``, one calls the other methods.

    Args:
        folder: The run's folder.
        receivers: Its receivers by id.
        quota: What each site may send; None means the usual one.

    Attributes:
        folder: The run's folder.
        last: When a site last sent something, in seconds of ``time.monotonic``.

    Raises:
        WorkspaceError: The folder cannot be used, or another process uses the run.
        FedtrackError: A receiver is not installed, or its arguments are not valid.
    """

    def __init__(self, folder: RunFolder, receivers: Mapping[str, NamedReceiver], quota: Quota | None = None) -> None:
        self.folder = folder
        self._begun = self.last = monotonic()
        ready = built(receivers, "receivers")
        self._workspace = Workspace(folder.base)
        try:
            record = folder.create(uuid4().hex, time_ns())
            run = RunInfo(
                run_id=record.run_id,
                job_name=folder.name,
                folder=folder.server,
                node=SERVER,
                sites=(),
                started_ns=record.started_ns,
                blobs=BlobStore(folder.server / "blobs"),
            )
            keep_receivers(folder.server, receivers)
            self._live = LiveRun(folder.server)
            self._host = ReceiverHost(run, ready, view=ViewOptions(by_step=True))
        except BaseException:
            self._workspace.close()
            raise
        self.journal = self._host.journal
        self._intake = Intake(folder.name, self.journal, run.blobs, quota)
        self._sources: dict[str, SpoolSource] = {}
        self._forgotten = frozenset(self.journal.forgotten.all())
        self._host.start()
        self._host.notify("fedtrack_job_started")
        self.look()

    def handle(self, site: str, data: bytes) -> bytes:
        """Answer one message of a site; never raises."""
        self.last = monotonic()
        return self._intake.handle(site, data)

    def look(self) -> None:
        """Find the sites that write into the run's folder themselves, and those that have ended."""
        for site in self.folder.sites():
            if site in self._forgotten:
                continue
            if site not in self._sources:
                home = self.folder.spool(site).parent
                guard = Guard.open(site, self._host.run.run_id, home, load_terms(home).of(site))
                source = SpoolSource(site, self.folder.spool(site), self.journal, self._host.run.blobs, guard=guard)
                self._sources[site] = source
                self._host.add_source(source)
            if _writes(self.folder.spool(site)):
                self.last = monotonic()

    def receivers(self) -> list[ReceiverTally]:
        """Return how far each receiver has got."""
        tally = take_tally({SERVER: (self.journal, self._host.ledger)}, [])
        return list(tally.receivers.values())

    def close(self, status: str) -> RunResult:
        """Take nothing more, deliver the rest, and store the summary.

        Args:
            status: ``completed`` if the run is over, ``running`` if it goes on later.
        """
        self._intake.close()
        for site in self._sources:
            self._host.forwarder.end(site)
        reports = self._host.finish(
            "completed" if status == "running" else status, _STALL_SECONDS, goes_on=status == "running"
        )
        result = self._summary(status, reports)
        if status != "running":
            self._host.notify("fedtrack_job_ended", status=status)
        self._host.close()
        self._live.close()
        try:
            result.save()
        except WorkspaceError as error:
            log.error("%s: %s", self.folder.name, error)
        self._workspace.close()
        return result

    def _summary(self, status: str, reports: list[ReceiverTally]) -> RunResult:
        names = sorted({*self.journal.counts(), *self._intake.byes(), *self._sources})
        tally = take_tally(
            {SERVER: (self.journal, self._host.ledger)},
            [self._counted(name) for name in names],
            reports,
            waiting=self._host.forwarder.errors,
        )
        return RunResult(
            run_id=self._host.run.run_id,
            job_name=self.folder.name,
            status=status,
            error="",
            workspace=self.folder.base,
            folder=self.folder.server,
            seconds=monotonic() - self._begun,
            rounds=[],
            final_metrics={},
            best_round=None,
            sites=tally.sites,
            receivers=tally.receivers,
            gaps=tally.gaps,
            waiting=tally.waiting,
        )

    def _counted(self, site: str) -> CountedSite:
        """Return a site as input of the tally; its calls are known once it has said goodbye, or has ended here."""
        if site in self._sources:
            spool = self.folder.spool(site)
            return CountedSite(site, spool, None if _writes(spool) else Goodbye())
        return CountedSite(site, None, Goodbye() if self._intake.has_everything_of(site) else None)


def _writes(spool: Path) -> bool:
    """Return whether a process has the spool open."""
    return any(is_open(segments[-1].path) for segments in list_streams(spool).values())


class Opening:
    """A lock that makes one thread open a run while the others wait for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.run: CollectedRun | None = None
