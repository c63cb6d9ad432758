"""File system: whether a folder outlives the machine's memory or the container."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

#: What lies on these is gone after a restart of the machine (tmpfs, ramfs) or of the container (overlay).
_SHORT_LIVED = {"tmpfs": "of this machine", "ramfs": "of this machine", "overlay": "of this container"}
_warned: set[str] = set()


def kind_of(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the file system of a path, such as ``ext4``; "" where the system does not say."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    wanted = os.path.realpath(path)
    best, found = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or not kinds:
            continue
        place = fields[4].encode().decode("unicode_escape").rstrip("/")
        if (wanted == place or wanted.startswith(place + "/")) and len(place) >= best:
            best, found = len(place), kinds[0]
    return found


def warn_of_memory(folder: Path) -> None:
    """Warn once if a folder's file system does not outlive a restart."""
    kind = kind_of(folder)
    if kind in _SHORT_LIVED and kind not in _warned:
        _warned.add(kind)
        log.warning(
            "%s is on %s, which does not survive a restart %s; records that have not arrived by then are lost. Name a "
            "folder on a disk in FEDTRACK_OUTBOX.",
            folder,
            kind,
            _SHORT_LIVED[kind],
        )
