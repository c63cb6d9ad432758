"""Engine: the protocol of the systems that run jobs, and its plain data types.

A job is an exported folder; a target is a string that only the engine understands (a workspace, an admin's startup
kit). All data types can be stored as JSON, because the process that asks for a run's status need not be the one that
submitted it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.json_text import decode_json

if TYPE_CHECKING:
    from fedtrack.job.fed_job import FedJob
    from fedtrack.runs.result import RunResult

#: The file in a run's workspace in which the command line keeps the run's handle.
HANDLE_FILE = "handle.json"

#: Name of the engine that runs jobs on this machine.
LOCAL_ENGINE = "local"

_RUN_ID = re.compile(r"[a-z0-9-]{1,64}\Z")


def checked_run_id(run_id: str | None) -> str:
    """Return ``run_id``, or a new id if it is None.

    Raises:
        ConfigError: The id is not valid. Ids name folders and backends' runs.
    """
    if run_id is None:
        from uuid import uuid4  # takes 4 ms, which cost nothing after the start of the fork server

        return uuid4().hex
    if not _RUN_ID.match(run_id):
        raise ConfigError(f"The run id {run_id!r} is not valid; use 1 to 64 of the characters a-z, 0-9 and '-'.")
    return run_id


class EngineCaps(msgspec.Struct, frozen=True):
    """What an engine can do.

    Attributes:
        name: The engine.
        version: The version of the system that it drives: of this core, or of an installed distributed system.
        script_lifetime: ``run``: a site's script lives as long as the run. ``task``: it is started once per task.
        event_path: How events reach the journal: ``direct`` from the spool on the same machine, ``acked`` in
            acknowledged batches while the script runs, ``reply`` only with a task's answer, ``external`` not by
            the engine at all.
        max_batch_bytes: The most bytes of one batch; 0 if there are no batches.
        site_identity: Whether the transport authenticates a site's name, or the site only claims it.
        spool_survives: How long a site's undelivered events are kept: with the ``run``, or with the ``site``.
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
    """A part of a job that a target would refuse, or that would not work there.

    Attributes:
        message: The problem, its place, and what to do.
        fatal: Whether the job cannot run; otherwise it runs, and the message names the consequence.
    """

    message: str
    fatal: bool = True


class RunHandle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data to find a run again, from any process.

    Attributes:
        engine: Name of the engine that runs it.
        target: The target of the run, as it was given to ``submit``.
        run_id: fedtrack's id of the run; the same when it is submitted again.
        native_id: The engine's own id of the run.
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
            ConfigError: The text is not a handle.
        """
        try:
            return decode_json(text, RunHandle)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"This is no run handle: {error}; give what 'fedtrack submit' printed.") from None


class RunState(StrEnum):
    """The states of a run."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"
    REJECTED = "rejected"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether the run is over."""
        return self not in (RunState.SUBMITTED, RunState.RUNNING)


class RunStatus(msgspec.Struct, frozen=True):
    """A run's state, and whether its events have arrived.

    Attributes:
        state: The state of the run.
        detail: The engine's own description.
        events_complete: Whether every log call of every site is known to be in the journal: its site has sent its final
            number, or its spool was read to its end. None as long as that cannot be known. Only ``completed`` with True
            means that all metrics arrived.
        unserved: The receivers that got none of the events that they can hold; see ``RunResult.unserved``.
    """

    state: RunState
    detail: str = ""
    events_complete: bool | None = None
    unserved: list[str] = []


class Engine(Protocol):
    """A system that runs jobs. Its constructor imports and connects nothing.

    Class attributes:
        name: The name that users type after ``--engine``.
        summary: One line for listings.

    An engine has every method. A method that it does not support raises NotSupported, with a sentence that names the
    alternative, and ``caps`` shows that too: see ``fedtrack.partial_engine.PartialEngine``.

    Any method that talks to the target raises EngineUnavailable if the target cannot be reached or is not installed,
    and EngineVersionError if the target's version is not supported.
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
            ConfigError: ``model`` has another type, or its recipe cannot be built.
            ModelError: A parameter is not a tensor.
            NotSupported: The engine writes no models.
        """

    def run(self, job: Path, workspace: Path, *, gpus: str | None = None, run_id: str | None = None) -> RunResult:
        """Run a job on this machine and return at its end. Ctrl-C and SIGTERM end the run in order.

        Args:
            job: An exported job.
            workspace: Folder for everything that the run writes; an earlier run in it is moved aside.
            gpus: GPU ids for the sites, assigned in turn: ``"0,1"``, or ``"[0,1],[2,3]"`` for two GPUs a site. None
                leaves every GPU to every site.
            run_id: fedtrack's id for the run; None means a new one.

        Raises:
            ConfigError: The job or an argument is not valid; nothing was started.
            WorkspaceError: The workspace cannot be used.
            JobError, KeyboardInterrupt: The run failed, or the user ended it; its records are in the workspace.
            NotSupported: The engine runs jobs at a target only; see ``submit``.
        """

    def resume(self, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Continue a run whose server was killed or failed, after its last finished round, and return at its end.

        Args:
            workspace: The workspace of the run.
            gpus: See ``run``.

        Raises:
            WorkspaceError: There is no run in the workspace, or another process still runs it.
            NotSupported: The engine cannot continue a run.
            FedtrackError: See ``run``.
        """

    def simulate(self, job: FedJob, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Export a job into a workspace, run it from there and return at its end.

        Args:
            job: The job, not exported yet.
            workspace: See ``run``.
            gpus: See ``run``.

        Raises:
            NotSupported: The engine takes exported jobs only.
            FedtrackError: See ``run``.
        """

    def check(self, job: Path, target: str) -> list[Problem]:
        """Return the problems that ``target`` has with the exported job in ``job``; nothing is changed.

        Raises:
            ConfigError: The job is not valid at any target.
        """

    def submit(self, job: Path, target: str, run_id: str | None = None) -> RunHandle:
        """Start a run and return at once.

        Args:
            job: An exported job.
            target: The target to run it.
            run_id: fedtrack's id for the run; None means a new one. For an id that the target knows, that run's
                handle is returned and nothing is started.

        Raises:
            ConfigError: The job is not valid.
            JobRejected: The target refuses the job; see ``check``.
        """

    def status(self, run: RunHandle) -> RunStatus:
        """Return the status of a run.

        Raises:
            RunNotFound: The target does not know it.
        """

    def wait(self, run: RunHandle, timeout: float | None = None) -> RunStatus:
        """Wait until a run is over and return its last status.

        Args:
            run: The run.
            timeout: The most seconds to wait; None waits without a limit.

        Raises:
            EngineTimeout: The run is not over yet, and continues.
            RunNotFound: The target does not know it.
        """

    def abort(self, run: RunHandle) -> None:
        """End a run; nothing happens if it is over.

        Raises:
            RunNotFound: The target does not know it.
        """

    def fetch(self, run: RunHandle, dest: Path) -> RunResult:
        """Download a finished run's results into ``dest``, in the layout of a local run's workspace.

        Failed and aborted runs have results, too: their journal has the events that arrived until then.

        Raises:
            RunNotFound: The target does not know the run, or no longer has its results.
            EngineTimeout: The run is not over.
        """

    def drain(self, run: RunHandle, timeout: float = 300.0) -> RunHandle:
        """Collect the events that sites of a finished run still have.

        Args:
            run: The run.
            timeout: The most seconds to wait for the sites.

        Returns:
            The handle to fetch the run's results with.

        Raises:
            EngineTimeout: The sites did not deliver in time.
            NotSupported: The sites keep no events after a run, at this target or at any target.
        """

    def close(self) -> None:
        """Close the connection; the runs continue."""
