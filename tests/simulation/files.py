"""Files: the functions of ``os`` and SQLite's file system, as the processes of the simulation see them."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from stat import S_ISDIR
from types import SimpleNamespace
from typing import Any

import apsw
from simulation.disk import Disk, Killed, NoSpaceError, NoSyncError, Process

from fedtrack.spool import counter_page

_VFS = "fedtrack-simulation"
_LOGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
_CALLS = ("open", "write", "ftruncate", "rename", "replace", "unlink", "link", "fsync", "fdatasync", "close", "stat")


class Files:
    """The files of all machines; at most one object of this class is in use.

    Attributes:
        process: The process that runs now; None outside of every process.
    """

    def __init__(self, disks: Iterable[Disk]) -> None:
        self.process: Process | None = None
        self._disks = list(disks)
        self._names: dict[int, str] = {}
        self._real: dict[str, Any] = {}

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Replace the functions of ``os`` and ``sqlite3.connect``."""
        global _files
        self._real = {name: getattr(os, name) for name in _CALLS}
        connect = sqlite3.connect
        hooks = sys.excepthook, sys.unraisablehook
        try:
            _files = self
            for name in _CALLS:
                setattr(os, name, getattr(self, f"_{name}"))
            sqlite3.connect = _connect  # type: ignore[assignment]
            # SQLite itself answers an error where it calls the file system for a clean-up.
            sys.excepthook = sys.unraisablehook = lambda *_: None
            counter_page.mmap = SimpleNamespace(mmap=_Map)  # type: ignore[assignment]
            yield
        finally:
            counter_page.mmap = mmap
            sys.excepthook, sys.unraisablehook = hooks
            sqlite3.connect = connect
            for name, function in self._real.items():
                setattr(os, name, function)
            _files = None

    @contextlib.contextmanager
    def running(self, process: Process) -> Iterator[None]:
        """Let a process run; processes may be nested, as a call through the network is."""
        before, self.process = self.process, process
        try:
            yield
        finally:
            self.process = before

    def bury(self, process: Process) -> None:
        """Close what a killed process had open, as the kernel does."""
        process.alive = False
        for connection in process.connections:
            assert isinstance(connection, Connection)
            connection.bury()
        process.connections.clear()
        for descriptor, inode in process.descriptors.items():
            with contextlib.suppress(OSError):
                # A file object closes its descriptor unseen, and another file may have the number now.
                if os.fstat(descriptor).st_ino == inode:
                    self._names.pop(descriptor, None)
                    self._real["close"](descriptor)
        process.descriptors.clear()

    def disk_of(self, path: Any) -> Disk | None:
        """Return the disk of a path."""
        name = path if isinstance(path, int) else os.fspath(path)
        return next((disk for disk in self._disks if disk.has(name)), None) if isinstance(name, str) else None

    def change(self) -> bool:
        """Count a change of the running process; return whether it is killed during this change."""
        return self.process is not None and self.process.dies_now()

    def step(self) -> None:
        """Count a change that is made completely or not at all.

        Raises:
            Killed: Before the change.
        """
        if self.change():
            raise Killed

    def changed(self) -> None:
        """Let a signal arrive behind a change."""
        if self.process is not None:
            self.process.interrupt()

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        disk = self.disk_of(path) if self.process is not None else None
        if disk is None:
            return self._real["open"](path, flags, mode, dir_fd=dir_fd)  # type: ignore[no-any-return]
        name = os.fspath(path)
        if flags & os.O_CREAT and not os.path.exists(name):
            self.step()
            if disk.room == 0:  # an inode needs room, too
                disk.grow(1)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        descriptor: int = self._real["open"](path, flags, mode)
        if flags & os.O_CREAT:
            disk.file(name)
        assert self.process is not None
        self.process.descriptors[descriptor] = os.fstat(descriptor).st_ino
        self._names[descriptor] = name
        return descriptor

    def _close(self, descriptor: int) -> None:
        self._names.pop(descriptor, None)
        if self.process is not None:
            self.process.descriptors.pop(descriptor, None)
        self._real["close"](descriptor)

    def _write(self, descriptor: int, data: Any) -> int:
        name = self._names.get(descriptor)
        disk = self.disk_of(name) if name is not None else None
        if name is None or disk is None:
            return self._real["write"](descriptor, data)  # type: ignore[no-any-return]
        dies = self.change()
        part = bytes(data)
        if dies:
            assert self.process is not None
            part = part[: int(len(part) * self.process.torn)]
        taken = disk.grow(len(part))
        if part and not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        offset = os.fstat(descriptor).st_size
        self._real["write"](descriptor, part[:taken])
        disk.file(name).changes.append((offset, part[:taken]))
        if dies:
            raise Killed
        self.changed()
        return taken

    def _ftruncate(self, descriptor: int, size: int) -> None:
        name = self._names.get(descriptor)
        disk = self.disk_of(name) if name is not None else None
        if name is not None and disk is not None:
            self.step()
            disk.file(name).changes.append(size)
        self._real["ftruncate"](descriptor, size)

    def _rename(self, source: Any, target: Any, **options: Any) -> None:
        self._move("rename", source, target, options)

    def _replace(self, source: Any, target: Any, **options: Any) -> None:
        self._move("replace", source, target, options)

    def _move(self, how: str, source: Any, target: Any, options: dict[str, Any]) -> None:
        disk = self.disk_of(source)
        if disk is not None:
            self.step()
        self._real[how](source, target, **options)
        if disk is not None:
            disk.rename(os.fspath(source), os.fspath(target))
            for descriptor, name in list(self._names.items()):
                if name == os.fspath(source):
                    self._names[descriptor] = os.fspath(target)
            self.changed()

    def _link(self, source: Any, target: Any, **options: Any) -> None:
        disk = self.disk_of(target)
        if disk is not None:
            self.step()
        self._real["link"](source, target, **options)
        if disk is not None:
            disk.link(os.fspath(source), os.fspath(target))

    def _unlink(self, path: Any, **options: Any) -> None:
        disk = self.disk_of(path)
        if disk is not None and os.path.exists(path):
            self.step()
            disk.unlink(os.fspath(path))
        self._real["unlink"](path, **options)

    def _fsync(self, descriptor: int) -> None:
        name = self._names.get(descriptor) or os.readlink(f"/proc/self/fd/{descriptor}")
        disk = self.disk_of(name)
        if disk is None:
            self._real["fsync"](descriptor)
        elif os.path.isdir(name):
            self.step()
            disk.sync_names(name)
        else:
            self.step()
            try:
                disk.sync(name)
            except NoSyncError:
                raise OSError(errno.EIO, os.strerror(errno.EIO)) from None
            self.changed()

    _fdatasync = _fsync

    def _stat(self, path: Any, **options: Any) -> Any:
        found = self._real["stat"](path, **options)
        if S_ISDIR(found.st_mode) and (disk := self.disk_of(path)) is not None:
            return _Folder(found, disk.touched.get(os.fspath(path), 0))
        return found


class _Folder:
    """What ``stat`` says of a folder, with the time of the simulation."""

    def __init__(self, found: os.stat_result, changed_ns: int) -> None:
        self._found = found
        self.st_mtime_ns = changed_ns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)


class _Map(mmap.mmap):
    """A file in memory; what is stored in it is safe after ``flush``."""

    path: str

    def __new__(cls, descriptor: int, size: int) -> _Map:
        made = super().__new__(cls, descriptor, size)
        name = _files._names[descriptor] if _files is not None else ""
        disk = _files.disk_of(name) if _files is not None else None
        if disk is not None:
            disk.file(name).is_mapped = True
        made.path = name.removesuffix(".new")
        return made

    def flush(self, *_: Any) -> None:
        """Make it safe."""
        disk = _files.disk_of(self.path) if _files is not None else None
        if disk is not None and _files is not None:
            _files.step()
            try:
                disk.sync(self.path)
            except NoSyncError:
                raise OSError(errno.EIO, os.strerror(errno.EIO)) from None


_files: Files | None = None


class _FileSystem(apsw.VFS):
    """SQLite's files: real ones, whose changes go through the disk of their machine."""

    def __init__(self) -> None:
        super().__init__(_VFS, "", maxpathname=0)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        disk = _files.disk_of(name) if _files is not None else None
        if disk is None or _files is None:
            super().xDelete(name, syncdir)
            return
        _files.step()
        disk.unlink(name)
        super().xDelete(name, syncdir)
        if syncdir:
            disk.sync_names(os.path.dirname(name))


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int]) -> None:
        self._name = name if isinstance(name, str) or name is None else name.filename()
        self._disk = _files.disk_of(self._name) if _files is not None and self._name else None
        # SQLite's own file system syncs the folder with the first sync of a file that it may have created.
        self._syncs_names = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _LOGS)
        if self._disk is not None and not os.path.exists(self._name):
            assert _files is not None
            _files.step()
        super().__init__("", name, flags)
        if self._disk is not None:
            self._disk.file(self._name)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk is None or _files is None:
            super().xWrite(data, offset)
            return
        dies = _files.change()
        if dies:
            assert _files.process is not None
            data = data[: int(len(data) * _files.process.torn)]
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
        if self._disk is not None and _files is not None:
            _files.step()
            self._disk.file(self._name).changes.append(size)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk is None or _files is None:
            super().xSync(flags)
            return
        _files.step()
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
    if _files is not None and _files.process is not None:
        _files.process.connections.append(connection)
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
