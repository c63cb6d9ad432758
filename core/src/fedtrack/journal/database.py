"""Store: one SQLite file of a run, with one writer and a reading connection per thread."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from fedtrack.errors import DamagedError, FedtrackError, WorkspaceError


class Store:
    """A file that survives SIGKILL and the loss of power; safe to use from several threads.

    Args:
        path: Created (0600) if it does not exist.
        schema: The tables of a new file, separated by ``;``. One of them is ``meta``.
        format_: The format that this version writes, and the newest one that it reads.

    Raises:
        WorkspaceError: The file cannot be created or is of another kind.
        DamagedError: It was written by a newer version of fedtrack.
    """

    def __init__(self, path: Path, schema: str, format_: int) -> None:
        self.path = path
        self._format = format_
        self._lock = threading.Lock()
        self._readers = threading.local()
        self._opened: list[sqlite3.Connection] = []
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._writer = self._connect()
            self._prepare(schema)
        except (OSError, ValueError, sqlite3.DatabaseError) as error:
            self.close()
            raise WorkspaceError(f"{path} cannot be used as a journal: {error}; choose another workspace.") from None
        except FedtrackError:
            self.close()
            raise

    def _prepare(self, schema: str) -> None:
        tables = "SELECT count(*) FROM sqlite_master"
        if self._writer.execute(tables).fetchone()[0]:
            self._check_format()  # before anything is written
        self._writer.execute("PRAGMA journal_mode=WAL")
        self._writer.execute("PRAGMA synchronous=FULL")
        with self._transaction():
            if self._writer.execute(tables).fetchone()[0] == 0:
                for statement in schema.split(";"):
                    self._writer.execute(statement)
                self._writer.execute("INSERT INTO meta VALUES ('format', ?)", (str(self._format),))

    def _check_format(self) -> None:
        row = self._writer.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        found = int(row[0]) if row else 0
        if found > self._format:
            raise DamagedError(
                f"{self.path} has format {found}, this version of fedtrack reads up to {self._format}; upgrade it."
            )

    def meta(self, key: str) -> str | None:
        """Return a value stored with ``set_meta``."""
        row = self._reader().execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Store a value about the run, such as its id."""
        with self._lock, self._transaction():
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close every connection; the file stays readable without a write-ahead log."""
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=30)
        self._opened.append(connection)
        return connection

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's connection for reading: a reader never waits for the writer in WAL mode."""
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._readers.connection = self._connect()
            connection.execute("PRAGMA query_only=ON")
        return connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise WorkspaceError(f"{self.path}: the journal cannot be written: {error}.") from error
