"""Disk: a folder of real files that forgets, when the power fails, what was not synced.

The page cache is the real folder. Beside it the disk remembers of each file what is safe, and the changes that are not.
A process that is killed loses nothing of the page cache; a loss of power keeps any part of the changes that are not
safe. A name is safe after its folder was synced; names that are not safe survive in the order of their changes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TICK_NS = 4_000_000


class Killed(BaseException):
    """SIGKILL: the process makes no further change."""


class NoSpaceError(Exception):
    """The disk is full."""


class NoSyncError(Exception):
    """The disk does not confirm what was written."""


@dataclass(eq=False)
class Process:
    """A process that changes files.

    Attributes:
        name: Its name.
        fuse: How many more changes it makes before it is killed; None if it is not to be killed.
        torn: The part of the last write that is in the file, from 0 to 1.
        trap: How many more changes it makes before ``handler`` is called, as a signal handler is.
        handler: May raise; the change was made before that.
        alive: Whether it can make changes.
        descriptors: What it has open: the inode by descriptor.
        connections: Its connections to databases.
    """

    name: str
    fuse: int | None = None
    torn: float = 0.0
    trap: int | None = None
    handler: Callable[[], None] = lambda: None
    alive: bool = True
    descriptors: dict[int, int] = field(default_factory=dict)
    connections: list[Any] = field(default_factory=list)

    def dies_now(self) -> bool:
        """Count one change; return whether the process is killed during it."""
        if not self.alive:
            raise Killed(self.name)
        if self.fuse is None:
            return False
        self.fuse -= 1
        if self.fuse < 0:
            self.alive = False
        return not self.alive

    def interrupt(self) -> None:
        """Call the handler if a signal is due."""
        if self.trap is None:
            return
        self.trap -= 1
        if self.trap < 0:
            self.trap = None
            self.handler()


@dataclass(eq=False)
class Stored:
    """A file: its safe content, and the changes since: a write at an offset, or a new size.

    The changes of a file that is mapped, or written by a file object, are not seen: they are there or not, as one.
    """

    safe: bytes = b""
    changes: list[tuple[int, bytes] | int] = field(default_factory=list)
    is_mapped: bool = False

    def sync(self, content: bytes | None) -> None:
        """Make the changes safe; ``content`` is that of the file if its changes were not seen."""
        self.safe = content if content is not None else _changed(self.safe, self.changes)
        self.changes.clear()

    def after_power_loss(self, content: bytes, chance: random.Random) -> bytes:
        """Return what is left of the file."""
        if self.is_mapped or not self.changes:
            return chance.choice((self.safe, content))
        kept: list[tuple[int, bytes] | int] = []
        for change in self.changes:
            fate = chance.random()
            if fate < 0.5:
                kept.append(change)
            elif fate < 0.7 and isinstance(change, tuple):
                kept.append((change[0], change[1][: chance.randrange(len(change[1]) + 1)]))
        return _changed(self.safe, kept)


def _changed(content: bytes, changes: list[tuple[int, bytes] | int]) -> bytes:
    data = bytearray(content)
    for change in changes:
        if isinstance(change, int):
            del data[change:]
            data.extend(bytes(change - len(data)))
        else:
            offset, part = change
            if part:
                data.extend(bytes(max(0, offset - len(data))))
                data[offset : offset + len(part)] = part
    return bytes(data)


class Disk:
    """The disk of one machine.

    Args:
        root: Its folder.
        time_ns: The machine's wall clock.

    Attributes:
        room: The bytes that are left; None if there is room for everything.
        failing_syncs: How many of the next syncs fail.
        refused: How often the disk had no room.
        removed: Called with the path of a file before it is removed.
        touched: When the names in a folder changed last, in nanoseconds of the machine's wall clock.
    """

    def __init__(self, root: Path, time_ns: Callable[[], int] = lambda: 0) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._time_ns = time_ns
        self.touched: dict[str, int] = {}
        self.root = str(root)
        self.room: int | None = None
        self.failing_syncs = 0
        self.refused = 0
        self.removed: Callable[[str], None] = lambda path: None
        self._files: dict[str, Stored] = {}
        self._safe_names: dict[str, dict[str, Stored]] = {}
        self._name_changes: dict[str, list[tuple[str, Stored | None]]] = {}

    def has(self, path: str) -> bool:
        """Return whether a path is on this disk."""
        return path.startswith(self.root)

    def file(self, path: str) -> Stored:
        """Return the file at a path; one whose creation was not seen is new, and nothing of it is safe."""
        if path not in self._files:
            self._files[path] = Stored()
            self._name(path, self._files[path])
        return self._files[path]

    def grow(self, size: int) -> int:
        """Take room for ``size`` bytes and return how many of them there is room for."""
        if self.room is None:
            return size
        taken = max(0, min(size, self.room))
        self.room -= taken
        self.refused += taken < size
        return taken

    def sync(self, path: str) -> None:
        """Make a file's content safe.

        Raises:
            NoSyncError: The disk refuses it; a later loss of power may lose the changes.
        """
        if self.failing_syncs > 0:
            self.failing_syncs -= 1
            raise NoSyncError(path)
        stored = self.file(path)
        unseen = stored.is_mapped or not stored.changes
        stored.sync(Path(path).read_bytes() if unseen else None)

    def make_safe(self) -> None:
        """Make everything safe that is there."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                self.sync(os.path.join(folder, name))
            self.sync_names(folder)

    def sync_names(self, folder: str) -> None:
        """Make the names in a folder safe."""
        names = self._safe_names.setdefault(folder, {})
        for path, stored in self._name_changes.pop(folder, []):
            _rename(names, path, stored)

    def rename(self, source: str, target: str) -> None:
        """Note that a file has another name."""
        stored = self.file(source)
        del self._files[source]
        self._files[target] = stored
        self._name(target, stored)
        self._name(source, None)

    def link(self, source: str, target: str) -> None:
        """Note that a file has one more name."""
        self._files[target] = self.file(source)
        self._name(target, self._files[target])

    def unlink(self, path: str) -> None:
        """Note that a file is to be removed."""
        self.removed(path)
        if self._files.pop(path, None) is not None:
            self._name(path, None)

    def lose_power(self, chance: random.Random) -> None:
        """Leave what survives a loss of power; the processes of the machine are gone already."""
        seen = sorted(os.path.join(folder, name) for folder, _, names in os.walk(self.root) for name in names)
        for path in seen:
            if not path.endswith("-shm"):
                self.file(path)  # also those that were created unseen
        names: dict[str, Stored] = {}
        for folder in sorted({*self._safe_names, *self._name_changes}):
            left = dict(self._safe_names.get(folder, {}))
            changes = self._name_changes.get(folder, [])
            for path, stored in changes[: chance.randrange(len(changes) + 1)]:
                _rename(left, path, stored)
            names |= left
        now = {stored: Path(path).read_bytes() for path, stored in self._files.items() if os.path.exists(path)}
        for path in seen:
            os.unlink(path)
        contents: dict[Stored, bytes] = {}
        for stored in dict.fromkeys(names[path] for path in sorted(names)):
            contents[stored] = stored.after_power_loss(now.get(stored, stored.safe), chance)
        for path, stored in names.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_bytes(contents[stored])
            stored.safe, stored.changes = contents[stored], []
        self._files = names
        self._name_changes.clear()
        self._safe_names.clear()
        for path, stored in names.items():
            self._safe_names.setdefault(os.path.dirname(path), {})[path] = stored

    def _name(self, path: str, stored: Stored | None) -> None:
        # A file system stamps with the time of the kernel's last tick.
        self.touched[os.path.dirname(path)] = self._time_ns() // _TICK_NS * _TICK_NS
        self._name_changes.setdefault(os.path.dirname(path), []).append((path, stored))


def _rename(names: dict[str, Stored], path: str, stored: Stored | None) -> None:
    if stored is None:
        names.pop(path, None)
    else:
        names[path] = stored
