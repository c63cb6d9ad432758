"""Files: the functions of ``os``, as the processes of the simulation see them; see databases.py for SQLite's files."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sys
from collections.abc import Iterable, Iterator
from stat import S_ISDIR
from types import SimpleNamespace
from typing import Any, ClassVar

from simulation.disk import Disk, Killed, NoSyncError, Process

from fedtrack.spool import counter_page

_CALLS = ("open", "write", "ftruncate", "rename", "replace", "unlink", "link", "fsync", "fdatasync", "close", "stat")


class Files:
    """The files of all machines.

    Attributes:
        current: The files that are in use, if there are any.
        process: The process that runs now; None outside of every process.
    """

    current: ClassVar[Files | None] = None

    def __init__(self, disks: Iterable[Disk]) -> None:
        self.process: Process | None = None
        self._disks = list(disks)
        self._names: dict[int, str] = {}
        self._real: dict[str, Any] = {}

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Replace the functions of ``os``."""
        self._real = {name: getattr(os, name) for name in _CALLS}
        hooks = sys.excepthook, sys.unraisablehook
        try:
            Files.current = self
            for name in _CALLS:
                setattr(os, name, getattr(self, f"_{name}"))
            # SQLite itself answers an error where it calls the file system for a clean-up.
            sys.excepthook = sys.unraisablehook = lambda *_: None
            counter_page.mmap = SimpleNamespace(mmap=_Map)  # type: ignore[assignment]
            yield
        finally:
            counter_page.mmap = mmap
            sys.excepthook, sys.unraisablehook = hooks
            for name, function in self._real.items():
                setattr(os, name, function)
            Files.current = None

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
        files = Files.current
        name = files._names[descriptor] if files is not None else ""
        disk = files.disk_of(name) if files is not None else None
        if disk is not None:
            disk.file(name).is_mapped = True
        made.path = name.removesuffix(".new")
        return made

    def flush(self, *_: Any) -> None:
        """Make it safe."""
        files = Files.current
        disk = files.disk_of(self.path) if files is not None else None
        if disk is not None and files is not None:
            files.step()
            try:
                disk.sync(self.path)
            except NoSyncError:
                raise OSError(errno.EIO, os.strerror(errno.EIO)) from None
