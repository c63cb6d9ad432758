"""LiveRun: the lock and the progress of a run that goes on, for every other process that asks.

The server holds a lock on ``running`` in its folder. The kernel releases it when the server ends in any way. So the
lock shows whether the run goes on; a process id does not, because another process may have it later. The lock of the
workspace does not show it either, because ``fedtrack runs replay`` and others take that lock too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

import msgspec

from fedtrack.errors import WorkspaceError
from fedtrack.files import write_whole
from fedtrack.json_text import read_json_file
from fedtrack.redaction import redact
from fedtrack.runs.child_run import holder

LOCK_FILE = "running"
PROGRESS_FILE = "run_progress.json"


class Progress(msgspec.Struct):
    """The progress of a run; keys are only ever added.

    Attributes:
        job_name: The job's name.
        rounds_done: Finished rounds, of all workflows and also before a resume.
        rounds: Planned rounds, of all workflows; 0 if their number is not known.
        sites: The number of sites.
        up: How many of them have not failed.
        waiting: Some of the sites whose answer the server is waiting for.
        failed: The reasons of failures, by site; not all of them if there are many.
        ending: Whether the workflows are over, and the rest of the events is being delivered.
    """

    job_name: str
    rounds_done: int = 0
    rounds: int = 0
    sites: int = 0
    up: int = 0
    waiting: list[str] = []
    failed: dict[str, str] = {}
    ending: bool = False

    @property
    def round_text(self) -> str:
        """The current round for people, such as ``round 2 (of 8)``; the first one is round 0, as everywhere."""
        if self.ending:
            return f"after {self.rounds_done} rounds" if self.rounds_done != 1 else "after 1 round"
        if not self.rounds:
            return f"round {self.rounds_done}"
        if self.rounds_done >= self.rounds:
            return f"after {self.rounds_done} of {self.rounds} rounds"
        return f"round {self.rounds_done} (of {self.rounds})"

    @property
    def rounds_text(self) -> str:
        """The finished and the planned rounds, such as ``2/8``."""
        return f"{self.rounds_done}/{self.rounds}" if self.rounds else f"{self.rounds_done}"

    @property
    def sites_text(self) -> str:
        """The living sites for people, such as ``2 of 3 sites up``."""
        return f"{self.up:,} of {self.sites:,} sites up"


class LiveRun:
    """Held by the server of a run, from its first file to its last.

    Args:
        folder: The folder of the server's results, which exists.

    Raises:
        WorkspaceError: The file cannot be created, or another process runs this run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / LOCK_FILE
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be created: {error.strerror}; free space or check rights.") from None
        # Whoever asks whether the run goes on has this lock for an instant, so it is waited for. The workspace's own
        # lock, which the caller has, keeps other servers out.
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def tell(self, progress: Progress) -> None:
        """Let other processes see ``progress``; on a full disk they see the earlier one."""
        with contextlib.suppress(WorkspaceError):
            write_whole(self._folder / PROGRESS_FILE, redact(msgspec.json.encode(progress).decode()).encode())

    def close(self) -> None:
        """Let every other process see that the run is over."""
        with contextlib.suppress(OSError):
            (self._folder / LOCK_FILE).unlink()
        os.close(self._lock)


def server_of(folder: Path) -> int | None:
    """Return the id of the process that runs the run with its results in ``folder`` now; None if it does not go on."""
    return holder(folder / LOCK_FILE)


def read_progress(folder: Path) -> Progress | None:
    """Return the last progress of the run with its results in ``folder``; None if its server wrote none."""
    try:
        return read_json_file(folder / PROGRESS_FILE, Progress)
    except (OSError, msgspec.MsgspecError):
        return None
