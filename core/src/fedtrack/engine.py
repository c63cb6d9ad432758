"""Engine: the protocol of whatever runs a job, and the plain values that cross it.

A job is an exported folder; a target is a string that only the engine understands (a workspace, an admin's startup
kit). Nothing here starts anything, and everything here survives being written down as JSON: the process that asks
for a run's status need not be the one that submitted it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import msgspec

from fedtrack.errors import ConfigError

if TYPE_CHECKING:
    from fedtrack.job.fed_job import FedJob
    from fedtrack.runs.result import RunResult

#: Where the command line keeps the handle of a run that it submitted, in the run's workspace.
HANDLE_FILE = "handle.json"

#: Name of the engine that runs jobs on this machine.
LOCAL_ENGINE = "local"

_RUN_ID = re.compile(r"[a-z0-9-]{1,64}\Z")


def checked_run_id(run_id: str | None) -> str:
    """Return ``run_id``, or a fresh one if it is None.

    Raises:
        ConfigError: It is none: ids name folders and backends' runs.
    """
    if run_id is None:
        from uuid import uuid4  # 4 ms, which a run has after its fork server was started and not before

        return uuid4().hex
    if not _RUN_ID.match(run_id):
        raise ConfigError(f"The run id {run_id!r} is not valid; use 1 to 64 of the characters a-z, 0-9 and '-'.")
    return run_id


class EngineCaps(msgspec.Struct, frozen=True):
    """What an engine can do.

    Attributes:
        name: The engine.
        version: Of whatever it drives: this core, or the distributed system that is installed.
        script_lifetime: ``run``: a site's script lives as long as the run. ``task``: it is started once per task.
        event_path: How events reach the journal: ``direct`` from the spool on the same machine, ``acked`` in
            acknowledged batches while the script runs, ``reply`` only with a task's answer, ``external`` not by
            the engine at all.
        max_batch_bytes: The most that one batch may hold; 0 if there are no batches.
        site_identity: Whether a site's name is what the transport authenticated, or only what the site claims.
        spool_survives: What a site's undelivered events outlive: the ``run`` only, or the ``site`` as a whole.
        can_abort: Whether ``abort`` works.
        can_reattach: Whether ``status``, ``wait`` and ``fetch`` work from another process.
        live_read: Whether the journal can be read while the job runs.
        can_run, can_resume, can_simulate: Whether these methods work: jobs on this machine, without a target.
        can_drain: Whether ``drain`` works, at some target at least.
    """

    name: str
    version: str
    script_lifetime: Literal["run", "task"]
    event_path: Literal["direct", "acked", "reply", "external"]
    max_batch_bytes: int
    site_identity: Literal["authenticated", "claimed"]
    spool_survives: Literal["run", "site", "none"]
    can_abort: bool
    can_reattach: bool
    live_read: bool
    can_run: bool = False
    can_resume: bool = False
    can_simulate: bool = False
    can_drain: bool = False


class Problem(msgspec.Struct, frozen=True):
    """Something that a target would refuse, or that would not work there.

    Attributes:
        message: What, where, and what to do.
        fatal: Whether the job cannot run; otherwise it runs, with the consequence that the message names.
    """

    message: str
    fatal: bool = True


class RunHandle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is needed to find a run again, from any process.

    Attributes:
        engine: Name of the engine that runs it.
        target: Where it runs, as it was given to ``submit``.
        run_id: fedtrack's id of the run; the same when it is submitted again.
        native_id: The engine's own id of it.
    """

    engine: str
    target: str
    run_id: str
    native_id: str

    def to_json(self) -> str:
        """Return the handle as one line of JSON."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def from_json(text: str | bytes) -> RunHandle:
        """Read a handle.

        Raises:
            ConfigError: The text is none.
        """
        try:
            return msgspec.json.decode(text, type=RunHandle)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"This is no run handle: {error}; give what 'fedtrack submit' printed.") from None


class RunState(StrEnum):
    """Where a run is in its life."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"
    REJECTED = "rejected"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (RunState.SUBMITTED, RunState.RUNNING)


class RunStatus(msgspec.Struct, frozen=True):
    """A run's state.

    Attributes:
        state: Where it is in its life.
        detail: The engine's own words.
        events_complete: Whether every site said goodbye with its final number and the journal has everything up to
            it; None as long as that cannot be known. Only ``completed`` with True means that all metrics arrived.
    """

    state: RunState
    detail: str = ""
    events_complete: bool | None = None


class Engine(Protocol):
    """Runs jobs somewhere. Constructing one imports and connects nothing.

    Class attributes:
        name: What users type after ``--engine``.
        summary: One line for listings.

    An engine has every method. One that cannot do what a method is for raises NotSupported, with a sentence that says
    what to do instead, and says the same in its ``caps``: see ``fedtrack.partial_engine.PartialEngine``.

    Any method that talks to the target raises EngineUnavailable if it cannot be reached or is not installed, and
    EngineVersionError if its version is not supported.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def caps(self) -> EngineCaps:
        """Return what the engine can do."""

    def write_model(self, model: Any, target: Path) -> None:
        """Write the initial model of a job that is being exported, as a safetensors file.

        Args:
            model: A ``torch.nn.Module``, a mapping of tensors, or a ``fedtrack.job.initial_model.ModelRecipe``.
            target: The file to write.

        Raises:
            ConfigError: ``model`` is none of these, or what it names cannot be built.
            ModelError: A parameter is no tensor.
            NotSupported: The engine writes no models.
        """

    def run(self, job: Path, workspace: Path, *, gpus: str | None = None, run_id: str | None = None) -> RunResult:
        """Run a job on this machine and stay until its end. Ctrl-C and SIGTERM end the run in order.

        Args:
            job: An exported job.
            workspace: Folder for everything that the run writes; an earlier run in it is moved aside.
            gpus: GPU ids for the sites, dealt out in turn: ``"0,1"``, or ``"[0,1],[2,3]"`` for two GPUs a site. None
                leaves every GPU to every site.
            run_id: fedtrack's id for the run; a fresh one, if None.

        Raises:
            ConfigError: The job or an argument is not valid; nothing was started.
            WorkspaceError: The workspace cannot be used.
            JobError, KeyboardInterrupt: The run failed, or the user ended it; what was logged is in the workspace.
            NotSupported: The engine runs jobs at a target only; see ``submit``.
        """

    def resume(self, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Go on with a run whose server was killed or failed, after its last finished round, and stay until its end.

        Args:
            workspace: That of the run.
            gpus: See ``run``.

        Raises:
            WorkspaceError: There is no run in the workspace, or another process is still at it.
            NotSupported: The engine cannot go on with a run.
            FedtrackError: See ``run``.
        """

    def simulate(self, job: FedJob, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Export a job into a workspace, run it from there and stay until its end.

        Args:
            job: The job, as it was described.
            workspace: See ``run``.
            gpus: See ``run``.

        Raises:
            NotSupported: The engine takes exported jobs only.
            FedtrackError: See ``run``.
        """

    def check(self, job: Path, target: str) -> list[Problem]:
        """Return what ``target`` would refuse about the exported job in ``job``; changes nothing.

        Raises:
            ConfigError: The job is not valid anywhere.
        """

    def submit(self, job: Path, target: str, run_id: str | None = None) -> RunHandle:
        """Start a run and return at once.

        Args:
            job: An exported job.
            target: Where to run it.
            run_id: fedtrack's id for the run; a fresh one, if None. Submitting an id that the target knows returns
                that run's handle and starts nothing.

        Raises:
            ConfigError: The job is not valid.
            JobRejected: The target refuses it; see ``check``.
        """

    def status(self, run: RunHandle) -> RunStatus:
        """Return where a run is.

        Raises:
            RunNotFound: The target does not know it.
        """

    def wait(self, run: RunHandle, timeout: float | None = None) -> RunStatus:
        """Wait until a run is over and return its last status.

        Args:
            run: The run.
            timeout: Seconds to wait at most.

        Raises:
            EngineTimeout: It is not over yet, and goes on.
            RunNotFound: The target does not know it.
        """

    def abort(self, run: RunHandle) -> None:
        """End a run; does nothing if it is over.

        Raises:
            RunNotFound: The target does not know it.
        """

    def fetch(self, run: RunHandle, dest: Path) -> RunResult:
        """Bring a finished run's results into ``dest``, laid out as the workspace of a local run.

        Works for failed and aborted runs too: what arrived until then is in the journal.

        Raises:
            RunNotFound: The target does not know it, or no longer has its results.
            EngineTimeout: The run is not over.
        """

    def drain(self, run: RunHandle, timeout: float = 300.0) -> RunHandle:
        """Bring in what sites still hold of a run that is over.

        Args:
            run: The run.
            timeout: Seconds to wait for the sites at most.

        Returns:
            The handle to fetch the run's results by.

        Raises:
            EngineTimeout: The sites did not deliver in time.
            NotSupported: The sites hold nothing once a run is over, here or at any target.
        """

    def close(self) -> None:
        """Let go of the connection; the runs go on."""
