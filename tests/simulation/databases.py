"""Databases: SQLite on the disks of the simulation, through a file system and connections of the simulation's own."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

import apsw
from simulation.disk import Killed, NoSpaceError, NoSyncError
from simulation.files import Files

_VFS = "fedtrack-simulation"
_LOGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


@contextlib.contextmanager
def simulated_databases() -> Iterator[None]:
    """Replace ``sqlite3.connect``."""
    real = sqlite3.connect
    sqlite3.connect = _connect  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect = real


class _FileSystem(apsw.VFS):
    """SQLite's files: real ones, whose changes go through the disk of their machine."""

    def __init__(self) -> None:
        super().__init__(_VFS, "", maxpathname=0)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        disk = Files.current.disk_of(name) if Files.current is not None else None
        if disk is None or Files.current is None:
            super().xDelete(name, syncdir)
            return
        Files.current.step()
        disk.unlink(name)
        super().xDelete(name, syncdir)
        if syncdir:
            disk.sync_names(os.path.dirname(name))


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int]) -> None:
        self._name = name if isinstance(name, str) or name is None else name.filename()
        self._disk = Files.current.disk_of(self._name) if Files.current is not None and self._name else None
        # SQLite's own file system syncs the folder with the first sync of a file that it may have created.
        self._syncs_names = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _LOGS)
        if self._disk is not None and not os.path.exists(self._name):
            assert Files.current is not None
            Files.current.step()
        super().__init__("", name, flags)
        if self._disk is not None:
            self._disk.file(self._name)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk is None or Files.current is None:
            super().xWrite(data, offset)
            return
        dies = Files.current.change()
        if dies:
            assert Files.current.process is not None
            data = data[: int(len(data) * Files.current.process.torn)]
        if self._disk.room is not None:
            more = max(0, offset + len(data) - self.xFileSize())
            if self._disk.grow(more) < more:
                raise apsw.FullError(NoSpaceError.__doc__)
        if data:
            super().xWrite(data, offset)
            self._disk.file(self._name).changes.append((offset, bytes(data)))
        if dies:
            raise Killed

    def xTruncate(self, size: int) -> None:  # noqa: N802
        if self._disk is not None and Files.current is not None:
            Files.current.step()
            self._disk.file(self._name).changes.append(size)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk is None or Files.current is None:
            super().xSync(flags)
            return
        Files.current.step()
        try:
            self._disk.sync(self._name)
        except NoSyncError as error:
            raise apsw.IOError(str(error)) from None
        if self._syncs_names:
            self._syncs_names = False
            self._disk.sync_names(os.path.dirname(self._name))


_file_system = _FileSystem()


class Connection:
    """A connection of ``sqlite3``, as far as fedtrack uses it, through the file system above."""

    def __init__(self, path: str, *, uri: bool = False) -> None:
        with _as_sqlite3:
            self.real = apsw.Connection(
                path,
                flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | (apsw.SQLITE_OPEN_URI if uri else 0),
                vfs=_VFS,
            )

    def execute(self, statement: str, values: Any = ()) -> Cursor:
        """Execute one statement."""
        with _as_sqlite3:
            return Cursor(self.real.execute(statement, tuple(values) or None))

    def executemany(self, statement: str, rows: Iterable[Any]) -> Cursor:
        """Execute a statement for each row."""
        with _as_sqlite3:
            return Cursor(self.real.executemany(statement, [tuple(row) for row in rows]))

    def close(self) -> None:
        """Close the connection; as with ``sqlite3``, a checkpoint that fails is left to whoever opens the file next."""
        with contextlib.suppress(apsw.Error):
            self.real.close(True)

    def bury(self) -> None:
        """Close the connection without a change to a file, as the kernel does for a killed process."""
        with contextlib.suppress(apsw.ConnectionClosedError, Killed):
            self.real.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self.real.close(True)


class Cursor:
    """The rows of a statement."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def fetchone(self) -> Any:
        """Return the next row."""
        with _as_sqlite3:
            return self._real.fetchone()

    def fetchall(self) -> Any:
        """Return the rows that are left."""
        with _as_sqlite3:
            return self._real.fetchall()

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def close(self) -> None:
        """End the statement."""
        with _as_sqlite3:
            self._real.close(True)


def _connect(path: Any, *, uri: bool = False, **_: Any) -> Connection:
    connection = Connection(str(path), uri=uri)
    if Files.current is not None and Files.current.process is not None:
        Files.current.process.connections.append(connection)
    return connection


class _AsSqlite3:
    """Turns apsw's errors into those of ``sqlite3``; a class, because it is entered for each row."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trail: object) -> None:
        if kind is not None and issubclass(kind, apsw.Error):
            wanted = sqlite3.DatabaseError if issubclass(kind, apsw.NotADBError) else sqlite3.OperationalError
            raise wanted(str(error)) from None


_as_sqlite3 = _AsSqlite3()
