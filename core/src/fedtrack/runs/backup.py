"""Backup: a copy of a run that can be shown, verified and replayed, taken while the run goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from urllib.parse import quote

from fedtrack.errors import ConfigError, WorkspaceError
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.workspace import JOB_FOLDER, RUN_FOLDER

_DATABASES = frozenset(("journal.db", "delivery.db"))
#: Files that belong to a process, or to a database that is copied as a whole.
_LEFT_OUT = ("lock", "running", "delivery.lock")
_SUFFIXES = ("-wal", "-shm", ".new", ".part")


def back_up(run: StoredRun, target: Path) -> int:
    """Copy a run to ``target`` and return the bytes of the copy.

    Each database is copied by SQLite itself, at one moment, also while a server writes it. Spools are copied before
    the journal: a record that moves meanwhile is in the copy twice, which a replay recognises, and never missing.

    Args:
        run: The run; nothing of it is changed.
        target: A folder that does not exist yet, or is empty.

    Raises:
        ConfigError: The folder has files.
        WorkspaceError: The copy cannot be written; it is removed if this has created it.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{str(target)!r} is not empty; name a new folder for the copy.")
    created = not target.exists()
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        nodes = sorted(path.parent for path in run.base.glob(f"*/{RUN_FOLDER}"))
        for node in nodes:
            _copy_files(node / RUN_FOLDER, target / node.name / RUN_FOLDER)
        for node in nodes:
            for name in _DATABASES:
                if (node / RUN_FOLDER / name).exists():
                    _copy_database(node / RUN_FOLDER / name, target / node.name / RUN_FOLDER / name)
        if (run.base / JOB_FOLDER).is_dir():
            shutil.copytree(run.base / JOB_FOLDER, target / JOB_FOLDER)
    except (OSError, sqlite3.Error, shutil.Error) as error:
        if created:
            shutil.rmtree(target, ignore_errors=True)
        raise WorkspaceError(
            f"The copy in {str(target)!r} cannot be written: {error}; free space, or name another folder."
        ) from None
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _copy_files(source: Path, target: Path) -> None:
    """Copy a node's files, some of which may be deleted meanwhile, without links and databases."""
    for folder, _, names in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in sorted(names):
            path = Path(folder) / name
            if name in _DATABASES or name in _LEFT_OUT or name.endswith(_SUFFIXES) or path.is_symlink():
                continue
            with contextlib.suppress(FileNotFoundError):  # delivered and deleted meanwhile: then the journal has it
                shutil.copy2(path, place / name, follow_symlinks=False)


def _copy_database(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    with (
        contextlib.closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as reader,
        contextlib.closing(sqlite3.connect(target)) as writer,
    ):
        reader.backup(writer)
