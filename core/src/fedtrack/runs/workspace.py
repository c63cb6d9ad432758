"""Workspace: the folders of a run, and the lock that lets one server use them at a time.

The layout is that of FLARE's simulator::

    <root>/job/<name>/                      the exported job that ran
    <root>/server/simulate_job/             journal.db, run.json, run_summary.json, what receivers write
    <root>/server/simulate_job/app_server/  FL_global_model.safetensors, best_FL_global_model.safetensors
    <root>/site-1/simulate_job/             spool/, log.txt
    <root>/@workers/simulate_job/           for sites without a process: <worker>/spool/, <worker>/log.txt, states/
    <root>/runs/<number>/                   each run under a path that stays: links while it is the last run in <root>,
                                            and its folders with its job once another one runs there
    <root>/earlier/<run id>/                runs before this one, of an older version
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from time import monotonic, sleep

import msgspec

from fedtrack.engine import HANDLE_FILE, LOCAL_ENGINE, RunHandle
from fedtrack.errors import ConfigError, WorkspaceError
from fedtrack.files import write_whole
from fedtrack.json_text import read_json_file
from fedtrack.private_folder import close_to_others, private_folder
from fedtrack.runs.live_run import LiveRun

RUN_FOLDER = "simulate_job"
#: The folder of the workers, beside those of the sites; no site's name begins with ``@``.
WORKERS_FOLDER = "@workers"
#: The folder of the runs by number, and that of an older version.
RUNS_FOLDER = "runs"
EARLIER_FOLDER = "earlier"
#: The folder of the exported jobs.
JOB_FOLDER = "job"
_SERVER = "server"
_RUN_FILE = "run.json"
#: Paths of which a workspace that was used before has one, with a run of its own or with the handle of one elsewhere.
WORKSPACE_MARKS = (f"{_SERVER}/{RUN_FOLDER}", f"{RUNS_FOLDER}/1/{_SERVER}", HANDLE_FILE)

#: Seconds for which a lock is waited for: whoever only asks for its holder has it for an instant.
_LOCK_PATIENCE = 0.3


#: The engine of a run that a collector took from another framework's federation.
COLLECTED = "collect"


class RunRecord(msgspec.Struct):
    """The identity of a run, stored so that the run can be resumed and replayed.

    Attributes:
        run_id: The run's id.
        job: Path of the exported job, relative to the workspace; "" for a script that no job ran.
        started_ns: Wall clock at its first start, nanoseconds since the epoch.
        engine: The name of the engine that ran it.
        number: Names its folder in ``runs``; 0 if it has none there yet.
    """

    run_id: str
    job: str
    started_ns: int
    engine: str = LOCAL_ENGINE
    number: int = 0


class Workspace:
    """A run's folders.

    Args:
        root: Created (0700) if it does not exist.

    Attributes:
        base: The folder of the run's nodes: from ``create`` on a path that stays when another run uses the workspace.
        live: Shows other processes that the run goes on, from ``create`` to ``close``.

    Raises:
        WorkspaceError: The folder cannot be created or written, others can write into it, or another server uses it.
    """

    def __init__(self, root: Path) -> None:
        self.root = self.base = private_folder(root, "workspace", WORKSPACE_MARKS)
        self.live: LiveRun | None = None
        try:
            self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise WorkspaceError(
                f"The workspace {str(root)!r} cannot be used: {error.strerror}; choose a folder that you can write."
            ) from None
        if not _locked(self._lock):
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
        return self.site(_SERVER)

    @property
    def exchange(self) -> Path:
        """Folder of the models that server and sites are exchanging."""
        return self.server / "exchange"

    def site(self, name: str) -> Path:
        """Folder of a site's own files."""
        return self.base / name / RUN_FOLDER

    @property
    def workers(self) -> Path:
        """Folder of the processes that work for many sites."""
        return self.site(WORKERS_FOLDER)

    def next_number(self) -> int:
        """Return a number for one more run."""
        taken = [int(path.name) for path in (self.root / RUNS_FOLDER).glob("*") if path.name.isdecimal()]
        return 1 + max(taken, default=0)

    def move_earlier_run(self) -> Path | None:
        """Move the folders of an earlier run aside and return the new place; None if there is no earlier run.

        The place is that of its links until now, so that its paths still lead to its files.
        """
        if not self.server.exists():
            return None
        earlier = self.record() or RunRecord("", "", 0)
        if not earlier.number:
            earlier = msgspec.structs.replace(earlier, number=self.next_number())
            if earlier.run_id:  # stored first: if this process is killed, the next one continues to the same place
                write_whole(self.server / _RUN_FILE, msgspec.json.encode(earlier))
        target = self.root / RUNS_FOLDER / str(earlier.number)
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The server's folder last: as long as it is here, there is an earlier run.
        for child in sorted(self.root.iterdir(), key=lambda path: path.name == _SERVER):
            if (child / RUN_FOLDER).is_dir():
                _unlink(target / child.name)
                child.rename(target / child.name)
        for link in target.iterdir():
            _unlink(link)
        if earlier.job and (self.root / earlier.job).is_dir():
            # Copied and not moved: the same job may be about to run again. A replay needs it for the receivers.
            shutil.copytree(self.root / earlier.job, target / earlier.job, dirs_exist_ok=True)
            close_to_others(target / earlier.job)
        self._move_handle(target, earlier.run_id)
        return target

    def _move_handle(self, target: Path, run_id: str) -> None:
        """Keep a run's handle with the run; that of a run which has no folder here yet stays."""
        handle = self.root / HANDLE_FILE
        with contextlib.suppress(OSError, ConfigError):
            if RunHandle.from_json(handle.read_bytes()).run_id == run_id:
                handle.rename(target / HANDLE_FILE)

    def record(self) -> RunRecord | None:
        """Return the identity of the run in this workspace; None if there is none, or it never began."""
        return read_record(self.server)

    def create(self, record: RunRecord, sites: list[str]) -> None:
        """Create the folders of a run; those of a run that is resumed exist."""
        for name in (_SERVER, *sites):
            (self.root / name / RUN_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.base = self._linked(record.number, sites)
        for folder in (self.exchange, self.server / "app_server"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.live is None:  # before the record: from then on the run is alive or over, and is never taken for dead
            self.live = LiveRun(self.server)
        for name in sites:
            (self.exchange / name).mkdir(mode=0o700, exist_ok=True)
        write_whole(self.server / _RUN_FILE, msgspec.json.encode(record))

    def _linked(self, number: int, sites: list[str]) -> Path:
        """Return the folder in ``runs`` with a link to each folder of the run, or the workspace itself."""
        if not number or self.root.parent.name == RUNS_FOLDER:
            return self.root
        base = self.root / RUNS_FOLDER / str(number)
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not sites:  # a folder cannot be made through a link to nothing
                (self.root / WORKERS_FOLDER / RUN_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in (_SERVER, *sites, WORKERS_FOLDER, JOB_FOLDER):
                if not (base / name).is_symlink():
                    (base / name).symlink_to(Path("..", "..", name))
        except OSError:  # a file system without links: the run has no other path than the workspace
            return self.root
        return base

    def close(self) -> None:
        """Let another server use the workspace."""
        if self.live is not None:
            self.live.close()
            self.live = None
        os.close(self._lock)


def _unlink(link: Path) -> None:
    if link.is_symlink():
        link.unlink()


def _locked(descriptor: int) -> bool:
    """Lock a file and return whether that was possible."""
    deadline = monotonic() + _LOCK_PATIENCE
    while True:
        try:
            # The kernel releases it with the process, so a killed server never leaves a stale lock.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if monotonic() >= deadline:
                return False
            sleep(0.01)
        else:
            return True


def read_record(folder: Path) -> RunRecord | None:
    """Return the identity of the run with its results in ``folder``; None if there is none, or it never began."""
    try:
        return read_json_file(folder / _RUN_FILE, RunRecord)
    except (OSError, msgspec.MsgspecError):
        return None
