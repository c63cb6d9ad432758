"""The end of a run on the server: the summary, and where its files go."""

from __future__ import annotations

import shutil
from pathlib import Path
from time import perf_counter

import msgspec

from fedtrack import RunResult
from fedtrack.delivery import DeliveryReport, ReceiverHost
from fedtrack.job import LoadedJob
from fedtrack.journal import Journal
from fedtrack.runs import RunRecord, SiteSummary, receiver_summary
from fedtrack.spool import split as split_frames
from fedtrack.tracking import SERVER
from fedtrack.tracking.records import Gap, Rejected, decode
from fedtrack.transport import Intake
from fedtrack_nvflare.node import STATE_FILE, RunEnd
from fedtrack_nvflare.rounds import Rounds
from fedtrack_nvflare.shipper import site_of

_RUN_FILE = "run.json"


def summarize(
    job: LoadedJob,
    host: ReceiverHost,
    intake: Intake,
    rounds: Rounds,
    reports: list[DeliveryReport],
    sites: list[str],
    status: str,
    error: str,
    started: float,
) -> RunResult:
    """Collect what came of a run."""
    folder = host.run.folder
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
        sites=_sites(job, host.journal, intake, rounds, sites),
        receivers={report.name: receiver_summary(report, SERVER) for report in reports},
        gaps=[(gap.site, gap.reason) for gap in host.gaps()],
    )


def keep(result: RunResult, end: RunEnd, folder: Path, target: Path) -> None:
    """Bring a run's files to ``target``, where the admin's download finds them.

    A run of which a site's goodbye is missing also stays where it is: a later drain goes on with it.
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
    """Write down how a run ended, where the admin's session can read it."""
    (folder / STATE_FILE).write_bytes(msgspec.json.encode(end))


def read_state(folder: Path) -> RunEnd | None:
    """Return how the run ended before; None if it never did."""
    try:
        return msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=RunEnd)
    except OSError:
        return None


def remembered_sites(journal: Journal, sites: list[str]) -> list[str]:
    """Return the run's sites: those that its first server had, whichever are there now."""
    text = journal.meta("sites")
    if text is not None:
        return msgspec.json.decode(text, type=list[str])
    journal.set_meta("sites", msgspec.json.encode(sites).decode())
    return sites


def record(folder: Path, run_id: str, started_ns: int) -> RunRecord:
    """Return what a run is known by: as it was first written down, or as it begins now."""
    path = folder / _RUN_FILE
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    found = RunRecord(run_id, "job", started_ns)
    path.write_bytes(msgspec.json.encode(found))
    return found


def _sites(
    job: LoadedJob, journal: Journal, intake: Intake, rounds: Rounds, sites: list[str]
) -> dict[str, SiteSummary]:
    journaled, byes = journal.counts(), intake.byes()
    rejected = _counts(journal)
    found: dict[str, SiteSummary] = {}
    for site in sites:
        bye, count = byes.get(site), journaled.get(site, 0)
        logged = bye.logged if bye else None
        if logged is None and intake.has_everything_of(site):
            logged = count  # its process died before it could count; the spool had every call that returned
        streams = site_of(job, site).streams_to_server
        found[site] = SiteSummary(logged, count, bye.dropped if bye else 0, rejected.get(site, 0), streams)
    own = journaled.get(SERVER, 0)
    found[SERVER] = SiteSummary(max(rounds.logged, own), own)
    return found


def _counts(journal: Journal) -> dict[str, int]:
    """Count the log calls whose value no record can hold, by site."""
    found: dict[str, int] = {}
    after = 0
    while batches := journal.read(after):
        for batch in batches:
            for _, payload in split_frames(batch.body):
                if payload[1] in (8, 9) and isinstance(decode(payload), Rejected | Gap):
                    found[batch.site] = found.get(batch.site, 0) + (payload[1] == 8)
            after = batch.id
    return found
