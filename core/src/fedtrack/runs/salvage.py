"""Salvage: replaces a damaged journal, or ledger, by a new one with everything that can be read of it.

The damaged files stay beside the new ones, as evidence. If a salvage is killed, the next one begins again, or ends it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from time import time_ns

from fedtrack.delivery.ledger import LEDGER_FILE
from fedtrack.delivery.ledger_rescue import owner_of, rescue_ledger
from fedtrack.delivery.ledger_schema import LEDGER
from fedtrack.errors import WorkspaceError
from fedtrack.journal.database import DamagedDatabaseError, Database, Schema
from fedtrack.journal.read_around import damage_of
from fedtrack.journal.rescue import Rescued, rescue
from fedtrack.journal.schema import JOURNAL
from fedtrack.runs.spool_records import take_back
from fedtrack.runs.stored_run import StoredRun, finish_salvage, salvaged_name
from fedtrack.spool.segments import sync_folder
from fedtrack.tracking.events import SERVER


@dataclass
class Salvaged:
    """One file that was replaced.

    Attributes:
        path: The file.
        kept: The damaged file, as it was.
        problem: The damage, as SQLite describes it.
        rescued: What was found; of a ledger, nothing is counted.
        waiting: Events that are lost in the journal and still in a spool, by site: a replay brings them back.
    """

    path: Path
    kept: Path
    problem: str
    rescued: Rescued = field(default_factory=Rescued)
    waiting: dict[str, int] = field(default_factory=dict)


def salvage(run: StoredRun) -> list[Salvaged]:
    """Replace the damaged journals and ledgers of a run; return what was done, and nothing if none is damaged.

    Raises:
        WorkspaceError: A server uses the workspace, or there is no room for the new files.
    """
    with run.locked():
        run.replace_lost_journal()
        found = []
        for node in run.journaling_nodes():
            folder = run.node(node)
            finish_salvage(folder)
            for path, schema, replace in (
                (folder / "journal.db", JOURNAL, _journal),
                (folder / LEDGER_FILE, LEDGER, _ledger),
            ):
                problem = damage_of(path) or _why_unusable(path, schema)
                if problem:
                    found.append(replace(run, node, path, problem))
        return found


def _why_unusable(path: Path, schema: Schema) -> str:
    """Return why a file that is whole for SQLite is none of ours, or ""."""
    if not path.exists():
        return ""
    try:
        Database(path, schema, read_only=True).close()
    except DamagedDatabaseError as error:
        return str(error.__cause__ or error)
    return ""


def _journal(run: StoredRun, node: str, path: Path, problem: str) -> Salvaged:
    new = _new(path)
    rescued = rescue(path, new, owner_of(path.with_name(LEDGER_FILE)))
    waiting = take_back(new, run, node)
    return Salvaged(path, _replace(path, new), problem, rescued, waiting)


def _ledger(run: StoredRun, node: str, path: Path, problem: str) -> Salvaged:
    new = _new(path)
    with run.journal(node) as journal:
        rescue_ledger(path, new, journal.meta("id") or "")
    return Salvaged(path, _replace(path, new), problem)


def _new(path: Path) -> Path:
    """Return the name for a new file, which no earlier attempt has left there."""
    new = path.with_name(f"{path.name}.new")
    for suffix in ("", "-wal", "-shm"):
        new.with_name(f"{new.name}{suffix}").unlink(missing_ok=True)
    return new


def _replace(path: Path, new: Path) -> Path:
    """Put a new file in the place of a damaged one, and return the name under which that one is kept."""
    kept = path.with_name(f"{path.name}.damaged-{time_ns()}")
    try:
        for suffix in ("", "-wal"):
            old = path.with_name(f"{path.name}{suffix}")
            if old.exists():
                os.link(old, kept.with_name(f"{kept.name}{suffix}"))
        # From here on the new file is complete, and an attempt that is killed is ended by the next command.
        new.replace(salvaged_name(path))
        sync_folder(path.parent)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be replaced: {error.strerror}; free some space or check rights.") from None
    finish_salvage(path.parent)
    return kept


def describe(salvaged: Salvaged) -> list[str]:
    """Return lines for people."""
    lines = [f"{salvaged.path}: {salvaged.problem}; kept as {salvaged.kept.name}"]
    rescued = salvaged.rescued
    for site in sorted({*rescued.events, *rescued.lost}):
        line = f"  {site}: {rescued.events.get(site, 0):,} events rescued"
        if lost := rescued.lost.get(site, 0):
            line += f", {lost:,} not found"
        if waiting := salvaged.waiting.get(site, 0):
            line += f"; {waiting:,} of them are still in its spool"
        lines.append(line)
    for site in sorted(rescued.unknown):
        lines.append(f"  {site or SERVER}: how many more events were lost is not known")
    return lines
