"""Places: the runs below a folder, and the name of each in an address."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fedtrack.errors import ConfigError
from fedtrack.runs import RUN_FOLDER, StoredRun, find_runs


def runs_below(folder: Path) -> dict[str, StoredRun]:
    """Return the runs of a workspace, of a collector's folder, or of the workspaces in a folder, by name; newest first.

    The name is the run's id, which stays when another run uses the workspace.

    Raises:
        ConfigError: The folder does not exist.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{str(folder)!r} is no folder; give a workspace, a collector's folder, or a folder with workspaces."
        )
    found: dict[str, StoredRun] = {}
    for run in sorted(_all_runs(folder), key=_started, reverse=True):
        found.setdefault(name_of(run), run)
    return found


def name_of(run: StoredRun) -> str:
    """Return a run's name in an address: its id or, without a readable ``run.json``, a hash of its path."""
    record = run.record
    if record is not None and record.run_id and "/" not in record.run_id:
        return record.run_id
    return hashlib.sha256(str(run.base).encode()).hexdigest()[:32]


def _started(run: StoredRun) -> int:
    record = run.record
    return record.started_ns if record else 0


def _all_runs(folder: Path) -> Iterator[StoredRun]:
    yield from find_runs(folder)
    for child in sorted(folder.iterdir()):
        if child.name == RUN_FOLDER or child.name.startswith(".") or not child.is_dir():
            continue
        if (child / "server" / RUN_FOLDER).is_dir() or (child / "runs").is_dir():
            yield from find_runs(child)
