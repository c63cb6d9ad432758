"""Databases: the file of a SQLite store is created once, even if several processes open it at the same time.

MLflow itself creates a store in place and without a lock. If several processes open a new file together, all but
one fail; if a process is killed meanwhile, it leaves a file that cannot be opened. Here the file appears complete.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

from fedtrack.errors import Transient
from fedtrack_mlflow import template

#: Seconds to wait while another process creates the store, which takes 3 to 10 seconds and longer on a slow disk.
_LOCK_TIMEOUT_S = 120


def ensure(database: Path) -> None:
    """Create the store if ``database`` does not exist; call within ``settings.calm()``.

    Raises:
        Transient: Another process has held the lock for too long.
        OSError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout

    if _exists(database):
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = database.with_name(f".{database.name}.lock")
    try:
        with FileLock(lock, timeout=_LOCK_TIMEOUT_S):
            if not _exists(database):
                _create(database)
    except Timeout:
        raise Transient(f"Another process holds {lock} and has not created {database} yet.") from None


def dispose(uri: str) -> None:
    """Close MLflow's connections to a store; otherwise it would go on writing to a file that was deleted meanwhile."""
    from mlflow.tracking._tracking_service.utils import _get_store

    engine = getattr(_get_store(uri), "engine", None)  # type: ignore[no-untyped-call]
    if engine is not None:
        engine.dispose()


def _exists(database: Path) -> bool:
    return database.exists() and database.stat().st_size > 0


def _create(database: Path) -> None:
    new = database.with_name(f".{database.name}.{uuid4().hex}")
    try:
        if not template.copy_to(new):
            _migrate(new)
            template.keep(new)
        _place_default_experiment(new, database.parent / "mlartifacts")
        new.replace(database)
    finally:
        with suppress(FileNotFoundError):
            new.unlink()


def _migrate(database: Path) -> None:
    from mlflow import MlflowClient

    os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    uri = f"sqlite:///{database}"
    chatty = logging.getLogger("mlflow.store.db.utils")
    level = chatty.level
    chatty.setLevel(logging.WARNING)
    try:
        MlflowClient(uri).search_experiments(max_results=1)
        dispose(uri)
    finally:
        chatty.setLevel(level)


def _place_default_experiment(database: Path, artifacts: Path) -> None:
    """Change the artifact location of MLflow's experiment 0, which is otherwise the current working directory."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", (f"{artifacts.as_uri()}/0",)
        )
