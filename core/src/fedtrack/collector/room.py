"""Room: the disk space of a collector: it refuses messages before the disk is full, and takes them again after."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from time import monotonic

log = logging.getLogger(__name__)

#: Free space that is left to the journals' own writes.
RESERVE_BYTES = 64 * 1024 * 1024
_LOOK_SECONDS = 5.0


class Room:
    """The disk space of a folder.

    Args:
        folder: The folder, which exists.
        max_bytes: The most bytes of its files; None means as many as the disk has.

    Attributes:
        full: Why there is no room; "" if there is.
        used: Bytes of the files, at the last look.
        free: Bytes that are free on the disk, at the last look.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._next = 0.0
        self.full = ""
        self.used = self.free = 0
        self.look()

    def look(self) -> None:
        """Measure again, if the last look is some seconds old."""
        now = monotonic()
        if now < self._next:
            return
        self._next = now + _LOOK_SECONDS
        self.used, self.free = size_of(self._folder), shutil.disk_usage(self._folder).free
        before, self.full = self.full, self._why()
        if self.full and not before:
            log.error("%s: sites keep their records until there is room", self.full)
        elif before and not self.full:
            log.info("there is room again")

    def _why(self) -> str:
        if self._max_bytes is not None and self.used >= self._max_bytes:
            return f"the collector holds {self.used:,} bytes, and may hold {self._max_bytes:,} (--max-bytes)"
        if self.free < RESERVE_BYTES:
            return f"the collector's disk has {self.free:,} bytes left"
        return ""


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, some of which may be deleted meanwhile."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name), follow_symlinks=False).st_size  # noqa: PTH116, PTH118 - fast
            except OSError:
                continue
    return total
