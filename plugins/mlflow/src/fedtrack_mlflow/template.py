"""Template: an empty store in the user's cache. MLflow's migrations of a new SQLite file take seconds, a copy does not.

The cache is only an optimisation. If anything is wrong with it (another owner, a damaged file, another set of
migrations), the store is created by MLflow.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

log = logging.getLogger(__name__)


def copy_to(target: Path) -> bool:
    """Create ``target`` (0600) as a copy of the template; return False if there is none that can be trusted."""
    try:
        template = _path()
        if not (_is_private(template.parent) and _is_private(template)):
            return False
        shutil.copyfile(template, target)
        target.chmod(0o600)
        if _is_sound(target):
            return True
    except (OSError, RuntimeError, sqlite3.Error) as error:
        log.debug("No MLflow store could be copied: %s", error)
    with suppress(FileNotFoundError):
        target.unlink()
    return False


def keep(store: Path) -> None:
    """Copy ``store`` to the template of its MLflow version; ``store`` must be new and closed."""
    try:
        template = _path()
        template.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(template.parent):
            return
        new = template.with_name(f".{uuid4().hex}")
        try:
            shutil.copyfile(store, new)
            new.chmod(0o600)
            new.replace(template)
        finally:
            with suppress(FileNotFoundError):
                new.unlink()
    except (OSError, RuntimeError) as error:
        log.debug("The MLflow store was not kept as a template: %s", error)


def _path() -> Path:
    """Return the path of the template, whose name has MLflow's version and migrations: they determine its content."""
    import mlflow
    from mlflow.store import db_migrations

    folder = Path(db_migrations.__path__[0]) / "versions"
    names = sorted(path.name for path in folder.glob("*.py"))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    configured = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(configured) if Path(configured).is_absolute() else Path.home() / ".cache"
    return cache / "fedtrack" / f"mlflow-{mlflow.__version__}-{digest}.db"


def _is_private(path: Path) -> bool:
    """Return whether no other user can have written to ``path``, whose triggers would run in our store."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return (
        status.st_uid == os.geteuid()
        and not stat.S_ISLNK(status.st_mode)
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _is_sound(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        checks = connection.execute("PRAGMA quick_check").fetchall()
        runs = connection.execute("SELECT count(*) FROM runs").fetchone()
        return checks == [("ok",)] and runs == (0,)
