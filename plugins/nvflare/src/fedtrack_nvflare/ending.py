"""Ending: a run's summary on the server, and the place of its files."""

from __future__ import annotations

import shutil
from pathlib import Path
from time import perf_counter

import msgspec

from fedtrack import RunResult
from fedtrack.delivery import ReceiverHost, ReceiverTally
from fedtrack.files import write_whole
from fedtrack.job import LoadedJob
from fedtrack.journal import Goodbye as SaidGoodbye
from fedtrack.journal import Journal
from fedtrack.runs import RUN_FOLDER, CountedSite, Goodbye, RunRecord, take_tally
from fedtrack.tracking import SERVER
from fedtrack.transport import Intake
from fedtrack_nvflare.node import JOB, STATE_FILE, RunEnd
from fedtrack_nvflare.rounds import Rounds
from fedtrack_nvflare.shipper import site_of

_RUN_FILE = "run.json"

#: The place of the job in the workspace of a run that was fetched; it names the receivers for a replay.
KEPT_JOB = f"{SERVER}/{RUN_FOLDER}/{JOB}"


def summarize(
    job: LoadedJob,
    host: ReceiverHost,
    intake: Intake,
    rounds: Rounds,
    reports: list[ReceiverTally],
    sites: list[str],
    status: str,
    error: str,
    started: float,
) -> RunResult:
    """Collect the result of a run."""
    folder = host.run.folder
    byes = intake.byes()
    counted = [*(_counted(job, intake, byes.get(site), site) for site in sites), _own(rounds)]
    tally = take_tally({SERVER: (host.journal, host.ledger)}, counted, reports, waiting=host.forwarder.errors)
    return RunResult(
        run_id=host.run.run_id,
        job_name=job.meta.name,
        status=status,
        error=error,
        workspace=folder,
        folder=folder,
        seconds=perf_counter() - started,
        rounds=rounds.rounds,
        final_metrics={},
        best_round=rounds.best_round,
        sites=tally.sites,
        receivers=tally.receivers,
        gaps=tally.gaps,
        waiting=tally.waiting,
    )


def run_end(result: RunResult, missing: list[str]) -> RunEnd:
    """Return the end of a run, for the admin."""
    return RunEnd(
        status=result.status,
        missing=missing,
        gaps=len(result.gaps),
        dropped=sum(site.dropped or 0 for site in result.sites.values()),
        lost=sum(site.lost or 0 for site in result.sites.values()),
        complete=result.events_complete,
        unserved=result.unserved,
    )


def keep(result: RunResult, end: RunEnd, folder: Path, target: Path) -> None:
    """Move a run's files to ``target``, where the admin's download finds them.

    If a site's goodbye is missing, the files are copied instead, so that a later drain can use them.
    """
    result.save()
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    if not end.missing:
        shutil.move(folder, target)
        folder.mkdir(mode=0o700)
    else:
        shutil.copytree(folder, target)
    write_state(folder, end)


def write_state(folder: Path, end: RunEnd) -> None:
    """Store the end of a run where the admin's session can read it."""
    write_whole(folder / STATE_FILE, msgspec.json.encode(end))


def read_state(folder: Path) -> RunEnd | None:
    """Return the stored end of a run; None if it has not ended before."""
    try:
        return msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=RunEnd)
    except OSError:
        return None


def remembered_sites(journal: Journal, sites: list[str]) -> list[str]:
    """Return the run's sites, as its first server knew them; ``sites`` if this is the first one."""
    text = journal.meta("sites")
    if text is not None:
        return msgspec.json.decode(text, type=list[str])
    journal.set_meta("sites", msgspec.json.encode(sites).decode())
    return sites


def record(folder: Path, run_id: str, started_ns: int) -> RunRecord:
    """Return the run's identity: the stored one, or a new one."""
    path = folder / _RUN_FILE
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    found = RunRecord(run_id, KEPT_JOB, started_ns)
    write_whole(path, msgspec.json.encode(found))
    return found


def _counted(job: LoadedJob, intake: Intake, bye: SaidGoodbye | None, site: str) -> CountedSite:
    """Return a site as input of the tally; its spool is on another machine."""
    if not site_of(job, site).streams_to_server:  # its goodbye has no counts, and its spool stays there
        return CountedSite(site, None, None, streams_to_server=False, node="")
    return CountedSite(site, None, _goodbye(intake, bye, site))


def _goodbye(intake: Intake, bye: SaidGoodbye | None, site: str) -> Goodbye | None:
    if bye is not None and bye.logged is not None:
        # A goodbye of an earlier version has no time, and its counts include the reports of drops.
        return Goodbye(bye.logged, bye.dropped, None, bye.said_ns is None, bye.withheld, bye.rejected)
    # A process died before it could count. Its calls are known once its whole spool has arrived.
    return Goodbye() if intake.has_everything_of(site) else None


def _own(rounds: Rounds) -> CountedSite:
    spool = rounds.spool
    return CountedSite(SERVER, spool.folder, Goodbye(spool.stored, spool.dropped, frozenset(spool.streams)))
