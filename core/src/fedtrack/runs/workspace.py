"""Workspace: the folders of a run, and the lock that lets one server use them at a time.

The layout is that of FLARE's simulator::

    <root>/job/<name>/                      the exported job that ran
    <root>/server/simulate_job/             journal.db, run.json, run_summary.json, what receivers write
    <root>/server/simulate_job/app_server/  FL_global_model.safetensors, best_FL_global_model.safetensors
    <root>/site-1/simulate_job/             spool/, log.txt
    <root>/@workers/simulate_job/           for sites without a process: <worker>/spool/, <worker>/log.txt, states/
    <root>/earlier/<run id>/                runs before this one, each with its job
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import msgspec

from fedtrack.errors import WorkspaceError
from fedtrack.files import write_whole

RUN_FOLDER = "simulate_job"
#: The folder of the workers, beside those of the sites; no site's name begins with ``@``.
WORKERS_FOLDER = "@workers"
EARLIER_FOLDER = "earlier"
_RUN_FILE = "run.json"


class RunRecord(msgspec.Struct):
    """The identity of a run, stored so that the run can be resumed and replayed.

    Attributes:
        run_id: The run's id.
        job: Path of the exported job, relative to the workspace; "" for a script that no job ran.
        started_ns: Wall clock at its first start, nanoseconds since the epoch.
    """

    run_id: str
    job: str
    started_ns: int


class Workspace:
    """A run's folders.

    Args:
        root: Created (0700) if it does not exist.

    Raises:
        WorkspaceError: The folder cannot be created or written, or another server uses it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise WorkspaceError(
                f"The workspace {str(root)!r} cannot be used: {error.strerror}; choose a folder that you can write."
            ) from None
        try:
            # The kernel releases it with the process, so a killed server never leaves a stale lock.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise WorkspaceError(
                f"The workspace {str(root)!r} is in use by the process {holder}; wait for it or choose another folder."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    @property
    def server(self) -> Path:
        """Folder of the server's results."""
        return self.root / "server" / RUN_FOLDER

    @property
    def exchange(self) -> Path:
        """Folder of the models that server and sites are exchanging."""
        return self.server / "exchange"

    def site(self, name: str) -> Path:
        """Folder of a site's own files."""
        return self.root / name / RUN_FOLDER

    @property
    def workers(self) -> Path:
        """Folder of the processes that work for many sites."""
        return self.site(WORKERS_FOLDER)

    def move_earlier_run(self) -> Path | None:
        """Move the folders of an earlier run aside and return the new place; None if there is no earlier run."""
        if not self.server.exists():
            return None
        earlier = self.record()
        target = self.root / EARLIER_FOLDER / (earlier.run_id if earlier else f"unknown-{self.server.stat().st_ino}")
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for child in sorted(self.root.iterdir()):
            if (child / RUN_FOLDER).is_dir():
                child.rename(target / child.name)
        if earlier and (self.root / earlier.job).is_dir():
            # Copied and not moved: the same job may be about to run again. A replay needs it for the receivers.
            shutil.copytree(self.root / earlier.job, target / earlier.job, dirs_exist_ok=True)
        return target

    def record(self) -> RunRecord | None:
        """Return the identity of the run in this workspace; None if there is none, or it never began."""
        return read_record(self.server)

    def create(self, record: RunRecord, sites: list[str]) -> None:
        """Create the folders of a run; those of a run that is resumed exist."""
        for folder in (self.server, self.exchange, self.server / "app_server"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in sites:
            self.site(name).mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.exchange / name).mkdir(mode=0o700, exist_ok=True)
        write_whole(self.server / _RUN_FILE, msgspec.json.encode(record))

    def close(self) -> None:
        """Let another server use the workspace."""
        os.close(self._lock)


def read_record(folder: Path) -> RunRecord | None:
    """Return the identity of the run with its results in ``folder``; None if there is none, or it never began."""
    try:
        return msgspec.json.decode((folder / _RUN_FILE).read_bytes(), type=RunRecord)
    except (OSError, msgspec.MsgspecError):
        return None
