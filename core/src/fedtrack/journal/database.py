"""Database: one SQLite file of a run, with one writer and a reading connection per thread."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import quote

from fedtrack.errors import DamagedError, FedtrackError, WorkspaceError
from fedtrack.spool.segments import sync_folder
from fedtrack.tracking.normalise import shorten


class DamagedDatabaseError(WorkspaceError):
    """A file of a run is damaged, or is no database at all."""


class Schema(NamedTuple):
    """The tables of one kind of file.

    Attributes:
        noun: The name of this kind of file in messages.
        format: The format of new files, and the newest one that can be read.
        tables: The statement that creates each table or index of a new file, by its name. One is ``meta``.
        views: By older format: the queries that show its tables like those of this format, by the table's name.
        migrations: By older format: the function that converts it, inside a transaction of the given connection.
    """

    noun: str
    format: int
    tables: Mapping[str, str]
    views: Mapping[int, Mapping[str, str]] = {}
    migrations: Mapping[int, Callable[[sqlite3.Connection], None]] = {}


class Database:
    """A file that survives SIGKILL and the loss of power; safe to use from several threads.

    A file of an older format is copied and then migrated when it is opened for writing. Opened for reading, it stays
    unchanged.

    Args:
        path: The file; created (0600) if it does not exist, unless it is only read.
        schema: Its tables.
        read_only: Whether nothing will be written, not even beside the file.

    Attributes:
        path: The file.
        format: Its current format.
        writer: The connection that writes; see ``transaction``.

    Raises:
        DamagedDatabaseError: The file is damaged.
        WorkspaceError: The file cannot be created or read, or is of another kind.
        DamagedError: The file was written by a newer version of fedtrack.
    """

    def __init__(self, path: Path, schema: Schema, *, read_only: bool = False) -> None:
        self.path = path
        self.format = schema.format
        self.read_only = read_only
        self._schema = schema
        self._lock = threading.Lock()
        self._readers = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._copied: TemporaryDirectory[str] | None = None
        try:
            if read_only:
                self.reader()
            else:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=0o600)
                self.writer = self._connect(str(path))
                self._prepare()
        except (OSError, ValueError, sqlite3.DatabaseError) as error:
            self.close()
            raise _unusable(path, schema, error) from None
        except FedtrackError:
            self.close()
            raise

    def reader(self) -> sqlite3.Connection:
        """Return this thread's connection for reading: a reader never waits for the writer in WAL mode."""
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            # Beside a writer of this process, an ordinary one: the last to be closed removes the write-ahead log.
            connection = self._open_for_reading()
            connection.execute("PRAGMA query_only=ON")
            self._readers.connection = connection
        return connection

    def _open_for_reading(self) -> sqlite3.Connection:
        if not self.read_only:
            return self._connect(str(self.path))
        try:
            if self._copied is None:
                connection = self._connect(reading_uri(self.path), uri=True)
            else:
                connection = self._connect(str(Path(self._copied.name) / self.path.name))
            self._show(connection)
        except sqlite3.OperationalError as error:
            if self._copied is not None or not is_unreachable(error):
                raise
            self._copied = copy_of(self.path)
            return self._open_for_reading()
        return connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the writer's connection; when this returns, all of its changes are on the disk, or none.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails, or the file was opened for reading.
        """
        if self.read_only:
            raise WorkspaceError(f"{self.path} was opened for reading only; nothing can be written to it.")
        with self._lock:
            try:
                self.writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self.writer
                    self.writer.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        self.writer.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise WorkspaceError(f"{self.path}: the {self._schema.noun} cannot be written: {error}.") from error

    def shrink(self) -> None:
        """Return the space of deleted rows to the disk."""
        with self._lock:
            self.writer.execute("VACUUM")

    def meta(self, key: str) -> str | None:
        """Return a value stored with ``set_meta``."""
        row = self.reader().execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Store a value about the file, such as the run's id.

        Raises:
            WorkspaceError: Nothing was stored: the disk is full or fails.
        """
        with self.transaction() as writer:
            writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close every connection; the file stays readable without a write-ahead log."""
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
            if self._copied is not None:
                self._copied.cleanup()

    def _connect(self, name: str, *, uri: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(name, check_same_thread=False, isolation_level=None, timeout=30, uri=uri)
        self._opened.append(connection)
        return connection

    def _check(self, connection: sqlite3.Connection) -> int:
        """Return the file's format.

        Raises:
            DamagedError: The format is too new for this version, or the file has more than tables.
        """
        # A view of a stranger can compute for ever, and a trigger or a virtual table can write.
        foreign = connection.execute(
            "SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL %' LIMIT 1"
        ).fetchone()
        if foreign:
            raise DamagedError(
                f"{self.path} has {shorten(foreign[0])}, which is no table; fedtrack has not written the file and does "
                "not read it."
            )
        row = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        found = int(row[0]) if row else 0
        if found > self._schema.format:
            raise DamagedError(
                f"{self.path} has format {found}, this version of fedtrack reads up to {self._schema.format}; "
                "upgrade it."
            )
        return found

    def _show(self, connection: sqlite3.Connection) -> None:
        """Show a file of an older format like one of this format, through views that only this connection has."""
        if not self.read_only:
            return
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:  # its maker was killed
            if connection.execute("PRAGMA page_count").fetchone()[0] > 1:
                raise sqlite3.DatabaseError("its tables are gone")
            for statement in self._schema.tables.values():
                if statement.lstrip().startswith("CREATE TABLE"):
                    connection.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
            return
        found = self._check(connection)
        self.format = found
        for name, query in self._schema.views.get(found, {}).items():
            connection.execute(f"CREATE TEMP VIEW {name} AS {query}")

    def _prepare(self) -> None:
        tables = "SELECT count(*) FROM sqlite_master"
        if self.writer.execute(tables).fetchone()[0]:
            self._check(self.writer)  # before anything is written
        elif self.writer.execute("PRAGMA page_count").fetchone()[0] > 1:
            raise sqlite3.DatabaseError("its tables are gone")
        self.writer.execute("PRAGMA journal_mode=WAL")
        self.writer.execute("PRAGMA synchronous=FULL")
        with self.transaction():
            if self.writer.execute(tables).fetchone()[0] == 0:
                for statement in self._schema.tables.values():
                    self.writer.execute(statement)
                self.writer.execute("INSERT INTO meta VALUES ('format', ?)", (str(self._schema.format),))
            else:
                self._migrate()

    def _migrate(self) -> None:
        """Convert an older file to this format; runs while no other process can write the file."""
        found = self._check(self.writer)
        if found not in self._schema.migrations:
            return
        self._copy(self.path.with_name(f"{self.path.name}.format-{found}"))
        self._schema.migrations[found](self.writer)
        self.writer.execute("UPDATE meta SET value = ? WHERE key = 'format'", (str(self._schema.format),))

    def _copy(self, target: Path) -> None:
        """Copy the file, as it was before this transaction, to ``target``: whole, or not at all."""
        part = target.with_name(f".{target.name}.part")
        part.unlink(missing_ok=True)  # of a process that was killed here
        part.touch(mode=0o600)
        source, copy = sqlite3.connect(self.path), sqlite3.connect(part)
        with contextlib.closing(source), contextlib.closing(copy):
            source.backup(copy)
        descriptor = os.open(part, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(target)
        sync_folder(target.parent)


_CORRUPT, _NO_DATABASE = 11, 26


def is_unreachable(error: sqlite3.Error) -> bool:
    """Return whether SQLite cannot create the files that it needs beside one with a write-ahead log."""
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def copy_of(path: Path) -> TemporaryDirectory[str]:
    """Return a temporary folder with a copy of a file and of its write-ahead log."""
    folder: TemporaryDirectory[str] = TemporaryDirectory(prefix="fedtrack-copy-")
    for name in (path.name, f"{path.name}-wal"):
        if path.with_name(name).exists():
            shutil.copyfile(path.with_name(name), Path(folder.name) / name)
    return folder


def is_damage(error: Exception) -> bool:
    """Return whether an error tells that a file is damaged, and not that it is busy, full or unreadable."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (_CORRUPT, _NO_DATABASE) or str(error).startswith(("no such table", "no such column", "its tables"))


def _unusable(path: Path, schema: Schema, error: Exception) -> WorkspaceError:
    if isinstance(error, ValueError) or is_damage(error):
        return DamagedDatabaseError(
            f"{path} cannot be used as a {schema.noun}: {error}; choose another workspace, or rescue what this one "
            "still has: fedtrack runs salvage WORKSPACE."
        )
    return WorkspaceError(f"{path} cannot be used as a {schema.noun}: {error}; choose another workspace.")


def reading_uri(path: Path) -> str:
    """Return the mode in which SQLite opens a file for reading without a change to it.

    A file with a write-ahead log has, or had, a writer: ``ro`` reads both and leaves them. Without such a log, ``rw``
    creates the files that a reader needs and removes them again, which ``ro`` does not. In a folder that cannot be
    written these files cannot be created, but nobody else writes there either: ``immutable``.
    """
    name = f"file:{quote(str(path))}"
    if path.with_name(f"{path.name}-wal").exists():
        return f"{name}?mode=ro"
    if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
        return f"{name}?mode=rw"
    return f"{name}?mode=ro&immutable=1"
