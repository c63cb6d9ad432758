"""Alone: the run of a script that no job runs, so that its writers work there as they do in a job.

The records go to a spool in a run folder of their own. No receiver is fed while the script runs: ``fedtrack runs
replay`` delivers them, to any receiver and as often as wanted.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fedtrack.client.backend import BACKEND_VARIABLE, SITE_VARIABLE
from fedtrack.errors import ConfigError, FedtrackError, WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.policy.run_terms import RunTerms
from fedtrack.private_folder import state_folder
from fedtrack.runs.workspace import RunRecord, Workspace
from fedtrack.spool import Spool, SpoolIdentity
from fedtrack.tracking import bind
from fedtrack.tracking.writer import RecordLog

#: The site under whose name the script logs.
SITE = "local"

#: The folder of such runs; the variable names another one.
FOLDER, FOLDER_VARIABLE = "fedtrack-runs", "FEDTRACK_RUNS"


def record_log() -> RecordLog:
    """Begin a run for this process, let all its writers use it, say where it is, and return its spool.

    Raises:
        ConfigError: The process belongs to a job, and has not joined it.
        WorkspaceError: No folder can be written.
    """
    if BACKEND_VARIABLE in os.environ or SITE_VARIABLE in os.environ:
        raise ConfigError(
            "This process belongs to a fedtrack job and has not joined it; call fedtrack.client.init() before the "
            "first writer is created."
        )
    spool = _begin()
    bind(spool)
    return spool


def _begin() -> Spool:
    problems: list[str] = []
    for parent in _parents():
        try:
            return _begin_in(parent)
        except (FedtrackError, OSError) as error:
            problems.append(str(error))
    raise WorkspaceError(f"No folder for the script's records can be written: {' '.join(problems)}")


def _begin_in(parent: Path) -> Spool:
    name = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{os.urandom(3).hex()}"
    root = (parent / name).absolute()
    record = RunRecord(run_id=name.replace("_", "-"), job="", started_ns=time.time_ns())
    workspace = Workspace(root)  # its lock shows that the script is still running, and ends with the process
    workspace.create(record, [SITE])
    journal = Journal(workspace.server / "journal.db")
    try:
        journal.set_meta("run_id", record.run_id)
        journal.set_meta("job_name", Path(sys.argv[0] or "script").stem or "script")
    finally:
        journal.close()
    gate = RunTerms.find([SITE], workspace=root).kept(workspace.server).gate(SITE)
    spool = Spool(workspace.site(SITE) / "spool", identity=SpoolIdentity(record.run_id, SITE), gate=gate)
    shown = shlex.quote(_short(root))
    # Not by logging: like wandb and mlflow, it must say so also in a script that has not set up any logging.
    sys.stderr.write(
        f"fedtrack: no job runs this script; its records are in {shown}\n"
        f"fedtrack: show them with: fedtrack runs show {shown}\n"
        f"fedtrack: deliver them with: fedtrack runs replay {shown} --receiver tensorboard (or mlflow, wandb)\n"
    )
    return spool


def _parents() -> Iterator[Path]:
    """Yield the folders in which the run may be, in the order in which they are tried."""
    if given := os.environ.get(FOLDER_VARIABLE):
        yield Path(given)
        return
    yield Path(FOLDER)
    yield state_folder() / "runs"
    yield Path(tempfile.gettempdir()) / f"{FOLDER}-{os.getuid()}"


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
