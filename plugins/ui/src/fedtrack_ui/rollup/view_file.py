"""ViewFile: the SQLite file ``view.db`` with a run's roll-up.

It is a projection of the journal like the content of any backend: it may be deleted, and a file that is damaged or of
another version is replaced. So it does not wait for the disk, and each write commits the cursor with what it read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

FORMAT = 2
FILE = "view.db"

_TABLES = """
CREATE TABLE cursor (node TEXT PRIMARY KEY, journal TEXT NOT NULL, batch INTEGER NOT NULL, events INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, key TEXT NOT NULL, n INTEGER NOT NULL, width INTEGER NOT NULL,
    last REAL, last_step INTEGER, last_ns INTEGER, UNIQUE (site, key));
CREATE INDEX series_key ON series (key);
CREATE TABLE bucket (
    series INTEGER NOT NULL, i INTEGER NOT NULL, n INTEGER NOT NULL, numbers INTEGER NOT NULL, finite INTEGER NOT NULL,
    total REAL NOT NULL, low REAL, high REAL, first REAL, last REAL, step0 INTEGER, step1 INTEGER,
    time0 INTEGER NOT NULL, time1 INTEGER NOT NULL, round INTEGER, PRIMARY KEY (series, i)) WITHOUT ROWID;
CREATE TABLE cell (
    series INTEGER NOT NULL, round INTEGER NOT NULL, n INTEGER NOT NULL, numbers INTEGER NOT NULL,
    finite INTEGER NOT NULL, total REAL NOT NULL, low REAL, high REAL, last REAL, time1 INTEGER NOT NULL,
    PRIMARY KEY (series, round)) WITHOUT ROWID;
CREATE TABLE span (
    site TEXT NOT NULL, round INTEGER NOT NULL, time0 INTEGER NOT NULL, time1 INTEGER NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (site, round)) WITHOUT ROWID;
CREATE TABLE task (
    round INTEGER NOT NULL, site TEXT NOT NULL, asked_ns INTEGER NOT NULL, answered_ns INTEGER NOT NULL,
    sent INTEGER NOT NULL, received INTEGER NOT NULL, weight REAL, seconds REAL, error TEXT NOT NULL,
    PRIMARY KEY (round, site)) WITHOUT ROWID;
CREATE TABLE returned (
    key TEXT NOT NULL, site TEXT NOT NULL, round INTEGER NOT NULL, value REAL, time_ns INTEGER NOT NULL,
    PRIMARY KEY (key, site, round)) WITHOUT ROWID;
CREATE TABLE direction (key TEXT PRIMARY KEY, better TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE param (site TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (site, key)) WITHOUT ROWID;
CREATE TABLE item (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, site TEXT NOT NULL, key TEXT NOT NULL, step INTEGER, round INTEGER,
    time_ns INTEGER NOT NULL, node TEXT NOT NULL, batch INTEGER NOT NULL, seq INTEGER NOT NULL, size INTEGER NOT NULL);
CREATE INDEX item_key ON item (site, key, kind);
CREATE TABLE problem (
    site TEXT NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (site, kind)) WITHOUT ROWID;
"""


class ViewFile:
    """A view file; used by one thread at a time.

    Args:
        path: The file; created (0600) if it does not exist.
        write: Whether to write, if no other process does.

    Attributes:
        path: The file.
        database: The connection.
        is_writer: Whether this process is the one that may write.
    """

    def __init__(self, path: Path, *, write: bool = True) -> None:
        self.path = path
        self._lock = _locked(path.with_name(f"{path.name}.lock")) if write else None
        self.is_writer = self._lock is not None
        try:
            self.database = self._opened()
        except sqlite3.Error:
            if not self.is_writer:
                raise
            _remove(path)
            self.database = self._opened()

    def close(self) -> None:
        """Close the file, and let another process write it."""
        self.database.close()
        if self._lock is not None:
            os.close(self._lock)

    def reset(self) -> None:
        """Replace the file by an empty one: the journal is not the one that was read."""
        self.database.close()
        _remove(self.path)
        self.database = self._opened()

    def _opened(self) -> sqlite3.Connection:
        if self.is_writer and not self.path.exists():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        mode = "rw" if self.is_writer else "ro"
        database = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(database)
        except BaseException:
            database.close()
            raise
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA busy_timeout = 5000")
        if self.is_writer:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT")
        row = database.execute("PRAGMA user_version").fetchone()
        if row is None or row[0] != FORMAT:
            raise sqlite3.DatabaseError(f"{self.path} is of another version")


def _locked(path: Path) -> int | None:
    """Return the descriptor of the writer's lock; None if another process has it or the folder cannot be written."""
    try:
        found = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(found)
        return None
    return found


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}{suffix}").unlink()
