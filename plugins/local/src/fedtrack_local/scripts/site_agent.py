"""The site agent: a process beside a site's training, with the receivers that a job places on the site.

It reads the same spool as the server, into a journal of the site's own, so that a slow or broken backend at the site
delays neither the training nor the server. Unlike the training, it has the credentials of the environment.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

import msgspec

from fedtrack import RunInfo
from fedtrack.delivery import OPENING_PATIENCE, ReceiverHost, ReceiverTally
from fedtrack.job import load_job
from fedtrack.journal import Journal
from fedtrack.runs import RUN_FOLDER
from fedtrack.tracking import BlobStore
from fedtrack.transport import Forwarder, SpoolSource
from fedtrack.unreadable import become_unreadable

log = logging.getLogger(__name__)


#: Seconds that an agent may take to report after its receivers have stopped waiting, and after a user's Ctrl-C.
_LEAVE_SECONDS, _HURRY_SECONDS = 20.0, 1.0

#: A wait of at least this many seconds is worth a word.
_SAID_SECONDS = 1.0


class AgentSpec(msgspec.Struct, forbid_unknown_fields=True):
    """The start parameters of an agent.

    Attributes:
        site: The agent's site.
        job: The exported job, which names the receivers.
        folder: The site's own folder.
        run_id: The run.
        started_ns: Start of the run, nanoseconds since the epoch.
        deletes: Whether it deletes the parts of the spool that it has read; False if the server reads the spool too.
    """

    site: str
    job: Path
    folder: Path
    run_id: str
    started_ns: int
    deletes: bool


class Finish(msgspec.Struct, forbid_unknown_fields=True):
    """Server to agent: the site's training has ended.

    Attributes:
        status: The status of the run.
        stall_seconds: Seconds without progress until a receiver is left behind.
        limit: Seconds after which every receiver is left behind; None if there is no limit.
    """

    status: str
    stall_seconds: float
    limit: float | None = None


class AgentReport(msgspec.Struct, forbid_unknown_fields=True):
    """What an agent says of its receivers before it ends; what they have taken stands in the site's ledger.

    Attributes:
        receivers: In the order of the job.
    """

    receivers: list[ReceiverTally]


class SiteAgent:
    """The server's handle on an agent's process.

    Args:
        spec: The agent's start parameters.
        receivers: Registered names of the site's receivers, by component id.
    """

    def __init__(self, spec: AgentSpec, receivers: Mapping[str, str]) -> None:
        self.site = spec.site
        self._spec = spec
        self._receivers = receivers
        self._end = math.inf
        self._finished: float | None = None
        self._report: AgentReport | None = None
        self._log = (spec.folder / "agent_log.txt").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fedtrack_local.scripts.site_agent", _encode(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            umask=0o077,
            start_new_session=True,  # Ctrl-C goes to the server, which tells the agent when to finish
        )

    @property
    def is_waited_for(self) -> bool:
        """Whether the end of the run waits for it for a moment already."""
        return (
            self._report is None
            and self._finished is not None
            and monotonic() - self._finished > _SAID_SECONDS
            and self._process.poll() is None
        )

    def finish(self, status: str, stall_seconds: float, limit: float = math.inf) -> None:
        """Tell the agent that the site's training has ended; ``report`` waits for its report. Only the first counts."""
        if self._process.stdin is None:
            return
        # The agent has the same limit itself; this one is for an agent that is stopped or hangs.
        self._finished = monotonic()
        self._end = self._finished + min(stall_seconds * OPENING_PATIENCE + _LEAVE_SECONDS, limit + _HURRY_SECONDS)
        order = Finish(status, stall_seconds, None if limit == math.inf else limit)
        with contextlib.suppress(OSError):  # the agent died; its report says so
            self._process.stdin.write(_encode(order).encode() + b"\n")
            self._process.stdin.close()
        self._process.stdin = None

    def hurry(self, seconds: float) -> None:
        """Wait for the report for this long only; the site's ledger says what its receivers have taken."""
        self._end = min(self._end, monotonic() + seconds)

    def report(self) -> AgentReport:
        """Return the report about the site's records, and end the agent's process."""
        if self._report is None:
            self._report = self._take_report()
        return self._report

    def _take_report(self) -> AgentReport:
        try:
            patience = None if self._end == math.inf else max(0.0, self._end - monotonic())
            output, _ = self._process.communicate(timeout=patience)
            return msgspec.json.decode(output, type=AgentReport)
        except (subprocess.TimeoutExpired, msgspec.MsgspecError):
            self._process.kill()
            self._process.communicate()
            return self._report_of_the_dead()
        finally:
            if self._process.returncode is not None:
                self._log.close()

    def _report_of_the_dead(self) -> AgentReport:
        """Bring what is left in the spool into the site's journal, which says what its receivers have taken."""
        log.error("%s: its agent died; what it has not delivered is kept; see %s", self.site, self._log.name)
        folder, blobs = self._spec.folder, BlobStore(self._spec.folder / "blobs")
        journal = Journal(folder / "journal.db")
        try:
            source = SpoolSource(self.site, folder / "spool", journal, blobs, delete=False)
            forwarder = Forwarder()
            forwarder.add(source)
            forwarder.end(self.site)
            forwarder.stop()
        finally:
            journal.close()
        reason = f"the site's agent died; see {self._log.name}"
        return AgentReport(
            [ReceiverTally(name, self.site, error=reason, id=id_) for id_, name in self._receivers.items()]
        )


def serve(spec: AgentSpec) -> AgentReport:
    """Run the receivers until a message on standard input says that the training has ended, or standard input ends."""
    job = load_job(spec.job)
    receivers = next(site.receivers for site in job.sites if site.name == spec.site)
    blobs = BlobStore(spec.folder / "blobs")
    run = RunInfo(spec.run_id, job.meta.name, spec.folder, spec.site, (spec.site,), spec.started_ns, blobs)
    host = ReceiverHost(run, receivers)
    host.add_source(SpoolSource(spec.site, spec.folder / "spool", host.journal, blobs, delete=spec.deletes))
    host.start()
    line = sys.stdin.readline()
    # No message means that the server has ended: deliver the stored records, but not for long.
    order = msgspec.json.decode(line, type=Finish) if line else Finish("aborted", 1.0)
    host.forwarder.end(spec.site)
    reports = host.finish(order.status, order.stall_seconds, math.inf if order.limit is None else order.limit)
    host.close()
    return AgentReport(reports)


def agent_spec(site: str, job: Path, root: Path, run: RunInfo, *, deletes: bool) -> AgentSpec:
    """Return the spec of the agent of ``site`` in the run's folder ``root``."""
    return AgentSpec(site, job.absolute(), root / site / RUN_FOLDER, run.run_id, run.started_ns, deletes)


def _encode(struct: msgspec.Struct) -> str:
    return msgspec.json.encode(struct, enc_hook=str).decode()


def main() -> None:
    """Serve the spec in the first argument and print the report."""
    become_unreadable()
    spec = msgspec.json.decode(sys.argv[1], type=AgentSpec, dec_hook=lambda type_, value: type_(value))
    # Receivers and their SDKs may print; the server must read nothing but the report.
    output = os.dup(1)
    os.dup2(2, 1)
    report = serve(spec)
    os.write(output, msgspec.json.encode(report))
    os._exit(0)  # a receiver that hangs in a call must not keep the process alive


if __name__ == "__main__":
    main()
