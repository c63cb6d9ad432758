"""StoredRun: a run, with its folders: the one in a workspace, or one that was moved aside."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.engine import LOCAL_ENGINE, RunHandle
from fedtrack.errors import ConfigError, DamagedError, FedtrackError, WorkspaceError
from fedtrack.job.load import LoadedJob, load_job
from fedtrack.journal.journal import GapKind, Journal
from fedtrack.runs.bare_run import is_bare, spool_home, spooled_sites
from fedtrack.runs.child_run import holder
from fedtrack.runs.kept_receivers import RECEIVERS_FILE, built, read_receivers
from fedtrack.runs.live_run import server_of
from fedtrack.runs.result import SUMMARY_FILE, RunResult
from fedtrack.runs.workspace import (
    COLLECTED,
    EARLIER_FOLDER,
    RUN_FOLDER,
    RUNS_FOLDER,
    WORKERS_FOLDER,
    RunRecord,
    Workspace,
    read_record,
)
from fedtrack.spool.segments import sync_folder
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo

log = logging.getLogger(__name__)

LOST_JOURNAL = "the journal of this run was removed: events that were only in it, and not in a spool, are lost"


@dataclass(frozen=True)
class StoredRun:
    """A run's folders.

    Attributes:
        base: The workspace, or ``<workspace>/runs/<number>`` of a run that is not the last one there.
    """

    base: Path

    @property
    def folder(self) -> Path:
        """The server's results."""
        return self.node(SERVER)

    @property
    def kept(self) -> Path:
        """The path of ``base`` that stays when another run uses the workspace; ``base`` itself if there is none."""
        record = self.record
        base = self.base / RUNS_FOLDER / str(record.number if record else 0)
        return base if _is_linked(base) else self.base

    @property
    def record(self) -> RunRecord | None:
        """The run's identity; None if the run never began, or the file cannot be read."""
        return read_record(self.folder)

    @property
    def result(self) -> RunResult | None:
        """The run's summary; None if its server died, or left none that can be read."""
        path = self.folder / SUMMARY_FILE
        try:
            return RunResult.load(path) if path.exists() else None
        except msgspec.MsgspecError as error:
            log.warning("%s cannot be read, and is passed over: %s", path, error)
            return None

    def node(self, name: str) -> Path:
        """Return the folder of the server or of a site."""
        if is_bare(self.base):
            return self.base if name == SERVER else spool_home(self.base, name)
        return self.base / name / RUN_FOLDER

    def nodes(self) -> list[str]:
        """Return the server and every site that has a folder."""
        if is_bare(self.base):
            return [SERVER, *spooled_sites(self.base)]
        found = sorted(path.parent.name for path in self.base.glob(f"[!@]*/{RUN_FOLDER}") if path.is_dir())
        return [SERVER, *(name for name in found if name != SERVER)]

    def sites(self) -> list[str]:
        """Return every known site: by its folder or, if processes work for many sites, by its name in other files."""
        found = self.nodes()[1:]
        if self.workers.is_dir() or self.is_collected:
            result = self.result
            named = list(result.sites) if result else []
            if SERVER in self.journaling_nodes():
                with self.journal() as journal:
                    named += journal.counts()
            mark = WORKERS_FOLDER[0]
            found += [name for name in dict.fromkeys(named) if name != SERVER and not name.startswith(mark)]
        return found

    @property
    def workers(self) -> Path:
        """The folder of the processes that work for many sites; does not exist in other runs."""
        return self.node(WORKERS_FOLDER)

    def journaling_nodes(self) -> list[str]:
        """Return the nodes that keep a journal: the server, and sites that host receivers."""
        return [name for name in self.nodes() if (self.node(name) / "journal.db").exists()]

    @contextmanager
    def journal(self, node: str = SERVER, *, write: bool = False) -> Iterator[Journal]:
        """Open a node's journal, which exists.

        Args:
            node: The server or a site.
            write: Whether to open it for writing; then a journal of an older format is migrated.

        Raises:
            ConfigError: There is none.
        """
        path = self.node(node) / "journal.db"
        if not path.exists():
            raise ConfigError(f"{path} does not exist: the run in {str(self.base)!r} has no journal.")
        journal = Journal(path, read_only=not write)
        try:
            yield journal
        finally:
            journal.close()

    @contextmanager
    def stores(self, node: str = SERVER, *, write: bool = False) -> Iterator[tuple[Journal, Ledger]]:
        """Open a node's journal and its ledger; see ``journal``. Of a damaged one, what is intact is read."""
        with self.journal(node, write=write) as journal:
            if server_of(self.folder) is None:
                journal.check()  # the file of a run that goes on changes, and each check would read all of it
            ledger = Ledger(self.node(node) / LEDGER_FILE, journal, read_only=not write)
            try:
                yield journal, ledger
            finally:
                ledger.close()

    @property
    def journal_is_lost(self) -> bool:
        """Whether the run must have had a journal, and has none."""
        if self.record is None or (self.folder / "journal.db").exists():
            return False
        # Sites start after the journal was created. So there was one if a site has logged, or a round has ended.
        begun = [self.node(name) / "spool" for name in self.nodes()[1:]]
        return any(path.exists() for path in [*begun, self.workers]) or any((self.folder / "app_server").glob("*"))

    def replace_lost_journal(self) -> None:
        """If the journal was removed, create another one, and record the loss of events that only the old one had.

        A salvage that was killed when its new files were complete is ended first.

        Records that are still in spools can then go into it; their numbers show how many came before them.
        """
        for node in self.nodes():
            finish_salvage(self.node(node))
        if self.journal_is_lost:
            log.error("%s: %s", self.folder, LOST_JOURNAL)
            journal = Journal(self.folder / "journal.db")
            journal.record_gap(SERVER, "", GapKind.JOURNAL, LOST_JOURNAL)
            journal.close()

    def put_summary_aside(self) -> None:
        """Keep the summary of an attempt that ended before this one under another name: its counts get out of date."""
        path = self.folder / SUMMARY_FILE
        if path.exists():
            number = 1 + sum(1 for _ in self.folder.glob(f"{path.stem}.*{path.suffix}"))
            path.rename(path.with_name(f"{path.stem}.{number}{path.suffix}"))

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Keep servers out of the workspace while the run is only read; it need not be writable.

        Raises:
            WorkspaceError: A server uses it.
        """
        lock = self.base / "lock"
        if os.access(self.base, os.W_OK) and (os.access(lock, os.W_OK) or not lock.exists()):
            with self.locked():
                yield
            return
        pid = holder(lock)
        if pid not in (None, os.getpid()):
            raise WorkspaceError(f"The workspace {str(self.base)!r} is in use by the process {pid}; wait for it.")
        yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep servers out of the workspace.

        Raises:
            WorkspaceError: A server uses it.
        """
        pid = holder(self.base / "lock")
        if pid is not None:
            raise WorkspaceError(
                f"The run in {str(self.base)!r} is in use by the process {pid}; try again when that has ended."
            )
        workspace = Workspace(self.base)
        try:
            yield
        finally:
            workspace.close()

    def job(self) -> LoadedJob:
        """Return the run's job.

        Raises:
            WorkspaceError: It no longer exists.
            FedtrackError: It cannot be loaded: a plugin or an environment variable is missing, for example.
        """
        record = self.record
        if record is not None and not record.job:
            raise WorkspaceError(
                f"{str(self.base)!r} is the run of a script that no job ran, so it has no receivers; "
                "name one with --receiver."
            )
        if record is None or not (self.base / record.job).is_dir():
            raise WorkspaceError(
                f"{str(self.base)!r} does not hold the job that ran, so its receivers are not known; "
                "name one with --receiver."
            )
        return load_job(self.base / record.job)

    def receivers(self) -> dict[str, dict[str, Receiver]]:
        """Return the run's receivers by node and id: those of its job, or those that were stored with it.

        Raises:
            WorkspaceError: Neither exists.
            FedtrackError: One cannot be built: a plugin or an environment variable is missing, for example.
        """
        kept = read_receivers(self.folder)
        if kept:
            return {SERVER: built(kept, str(self.folder / RECEIVERS_FILE))}
        job = self.job()
        return {SERVER: job.receivers} | {site.name: site.receivers for site in job.sites if site.receivers}

    @property
    def is_collected(self) -> bool:
        """Whether a collector took the run from a federation of another framework, so that there is no job."""
        record = self.record
        return record is not None and record.engine == COLLECTED

    def info(self, node: str, sites: tuple[str, ...]) -> RunInfo:
        """Return the RunInfo for receivers on a node, as it was during the run.

        Raises:
            DamagedError: The run's identity cannot be read.
        """
        record, folder = self.record, StoredRun(self.kept).node(node)
        if record is None:
            raise DamagedError(f"{self.folder} has no readable run.json, so the run's id is not known.")
        with self.journal() as journal:
            name = journal.meta("job_name") or Path(record.job).name
        try:
            facts = self.job().facts
        except FedtrackError:  # the run of a script without a job, or a plugin of the job is no longer installed
            facts = {}
        return RunInfo(record.run_id, name, folder, node, sites, record.started_ns, BlobStore(folder / "blobs"), facts)


def salvaged_name(path: Path) -> Path:
    """Return the name of the complete new file that takes the place of a damaged database."""
    return path.with_name(f"{path.name}.salvaged")


def finish_salvage(folder: Path) -> None:
    """Put the complete new files of a salvage in the place of the damaged ones, of which other names are kept."""
    for new in folder.glob("*.db.salvaged"):
        path = new.with_suffix("")
        for suffix in ("-wal", "-shm"):  # of the damaged file: SQLite must not apply it to the new one
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
        new.replace(path)
        sync_folder(folder)


def find_runs(workspace: Path) -> list[StoredRun]:
    """Return the runs of a workspace: the one in it, then earlier ones, newest first."""
    places = [*(workspace / RUNS_FOLDER).glob("*"), *(workspace / EARLIER_FOLDER).glob("*")]
    found = [run for run in map(StoredRun, places) if run.folder.is_dir() and not _is_linked(run.base)]
    found.sort(key=lambda run: run.record.started_ns if run.record else 0, reverse=True)
    current = StoredRun(workspace)
    return [current, *found] if current.folder.is_dir() else found


def find_run(path: Path) -> StoredRun:
    """Return the run that ``path`` names: a workspace, ``<workspace>/runs/<number>``, or the server's folder of one.

    A file is the handle of a run on this machine.

    Raises:
        ConfigError: There is no run.
    """
    path = path.absolute()
    if path.is_file():
        return _run_of_handle(path)
    for base in (path, path.parent.parent):
        run = StoredRun(base)
        if run.folder.is_dir() and (base == path or run.folder == path):
            return StoredRun(base.parent.parent) if _is_linked(base) else run
    raise ConfigError(f"{str(path)!r} holds no run; give a workspace, or one of its folders runs/<number>.")


def _run_of_handle(path: Path) -> StoredRun:
    try:
        handle = RunHandle.from_json(path.read_text())
    except (OSError, UnicodeDecodeError, FedtrackError) as error:
        raise ConfigError(f"{path} is no handle of a run: {error}") from None
    if handle.engine != LOCAL_ENGINE:
        raise ConfigError(
            f"The run of {path} is on the engine {handle.engine!r}; download it first: "
            f"fedtrack runs fetch {path} -w FOLDER"
        )
    for run in find_runs(Path(handle.target)):
        if run.record is not None and run.record.run_id == handle.run_id:
            return run
    raise ConfigError(f"{handle.target} holds no run {handle.run_id!r}; it has not begun, or was deleted.")


def _is_linked(base: Path) -> bool:
    """Return whether a folder in ``runs`` only has links to the last run of its workspace."""
    return (base / SERVER).is_symlink()
