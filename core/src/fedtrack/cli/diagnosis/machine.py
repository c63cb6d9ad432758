"""Machine: the GPUs, the folders that everything is written to, and the clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import time

from fedtrack.cli.diagnosis.finding import Finding, action, note, ok
from fedtrack.connection.file_system import kind_of

#: Free bytes below which a folder needs somebody: a run of some hours may need more.
LEAST_FREE = 1 << 30
#: Seconds for which ``nvidia-smi`` is waited for.
_GPU_SECONDS = 20.0
#: File systems that are in memory.
_IN_MEMORY = frozenset(("tmpfs", "ramfs"))


def machine() -> Iterator[Finding]:
    """Yield what was found of this machine."""
    from fedtrack.private_folder import state_folder

    yield from gpus()
    yield folder("state folder", state_folder(), "set XDG_STATE_HOME to a folder that you can write, or free space")
    yield from temporary_folder()
    yield clock()


def gpus() -> Iterator[Finding]:
    """Yield each GPU that ``nvidia-smi`` lists, or why there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        yield ok("GPU", "none that nvidia-smi knows: it is not installed")
        return
    command = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        # Not by the shell, and by the path that was found.
        done = subprocess.run(command, capture_output=True, timeout=_GPU_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield note("GPU", f"nvidia-smi gives no answer: {error}", "mend its driver, if this machine has a GPU")
        return
    output, errors = (data.decode(errors="replace").strip() for data in (done.stdout, done.stderr))
    if done.returncode or not output:
        said = " ".join((errors or output).split())[:200] or f"exit status {done.returncode}"
        yield note("GPU", f"nvidia-smi lists none: {said}", "mend its driver, if this machine has a GPU")
        return
    for number, line in enumerate(output.splitlines()):
        yield ok(f"GPU {number}", line.strip())


def folder(name: str, path: Path, remedy: str) -> Finding:
    """Return whether a folder can be written and has room.

    Args:
        name: What the folder is for.
        path: The folder; if it does not exist yet, the nearest one above it is looked at.
        remedy: What to do if it has no room or cannot be written.
    """
    place = next((one for one in (path, *path.parents) if one.exists()), Path("/"))
    missing = "" if place == path else ", not made yet"
    if not place.is_dir():
        return action(name, f"{place} is a file and no folder", remedy)
    if not os.access(place, os.W_OK | os.X_OK):
        return action(name, f"{place} cannot be written", remedy)
    try:
        room, inodes = shutil.disk_usage(place), os.statvfs(place)
    except OSError as error:
        return action(name, f"{place} cannot be measured: {error.strerror}", remedy)
    kind = kind_of(place) or "unknown file system"
    shown = f"{path} ({kind}{missing}): {room.free / 2**30:.1f} of {room.total / 2**30:.1f} GiB free"
    if inodes.f_files and not inodes.f_favail:
        return action(name, f"{shown}, and no inode for one more file", remedy)
    if room.free < LEAST_FREE:
        return action(name, shown, remedy)
    if kind in _IN_MEMORY and name == "state folder":
        return note(name, shown, "it is gone after a restart; set XDG_STATE_HOME to a folder on a disk")
    return ok(name, shown)


def temporary_folder() -> Iterator[Finding]:
    """Yield how the folder for temporary files is."""
    another = "set TMPDIR to a folder that you can write"
    try:
        found = tempfile.gettempdir()
    except FileNotFoundError as error:
        yield action(
            "temporary folder", f"there is none: {error.strerror}", "set TMPDIR to a folder that you can write"
        )
        return
    wanted = os.environ.get("TMPDIR", "")
    if wanted and os.path.realpath(wanted) != os.path.realpath(found):
        yield action("TMPDIR", f"{wanted} cannot be used, so {found} is", another)
    yield folder("temporary folder", Path(found), f"free space in it, or {another}")


def clock(now: float | None = None) -> Finding:
    """Return whether the clock can be right: it cannot be before the files of this installation.

    Args:
        now: Seconds since the epoch; None means now.
    """
    from fedtrack import cli

    now = time() if now is None else now
    shown = datetime.fromtimestamp(now, UTC).isoformat(" ", "seconds")
    installed = Path(cli.__file__).stat().st_mtime
    if now < installed - 86400:
        day = datetime.fromtimestamp(installed, UTC).date()
        return action(
            "clock", f"{shown} is before {day}, the day of this installation", "set the clock of this machine"
        )
    return ok("clock", shown)
