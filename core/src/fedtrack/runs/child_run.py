"""ChildRun: a run in a process of its own that goes on without its starter, and is found again through a folder.

The process inherits a lock on ``<root>/submissions/<run id>``. The kernel releases it when the process ends in any way.
So the lock shows whether the run goes on. A process id does not, because another process may have it later.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fedtrack.private_folder import private_files

#: Kept so that this process collects the exit status of each run that it started.
_started: list[subprocess.Popen[bytes]] = []


class ChildRun:
    """The handle on a run's process.

    Args:
        root: The folder through which the run is found.
        run_id: The run; names a file.
    """

    def __init__(self, root: Path, run_id: str) -> None:
        self._lock = root / "submissions" / run_id
        self.log = self._lock.with_suffix(".log")

    @property
    def is_known(self) -> bool:
        """Whether it was ever started."""
        return self._lock.exists()

    @property
    def pid(self) -> int | None:
        """The process's id; None if it is gone."""
        for process in _started:
            process.poll()
        return holder(self._lock)

    def start(self, command: Sequence[str]) -> None:
        """Start ``command``; its output goes to ``log``.

        Raises:
            FileExistsError: It was started before.
        """
        self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with private_files(), self.log.open("wb") as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    umask=0o077,
                    start_new_session=True,  # the terminal's Ctrl-C ends the waiting, not the run
                    pass_fds=[lock],
                )
            os.write(lock, str(process.pid).encode())
        finally:
            os.close(lock)
        _started.append(process)

    def interrupt(self, number: int = signal.SIGTERM) -> None:
        """Send the process a signal, if it is running."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def last_words(self) -> str:
        """Return the last line of its output, as the end of a sentence."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return f"its last words: {lines[-1]}" if lines else "it left no word"


def holder(path: Path) -> int | None:
    """Return the id, as ``path`` names it, of the process that holds the lock on ``path``; None if no process does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A shared lock: two processes that ask at the same time must not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None
