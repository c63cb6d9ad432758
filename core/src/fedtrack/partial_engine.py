"""PartialEngine: the methods of an engine that cannot do what they are for, and how an engine is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from fedtrack.errors import NotSupported
from fedtrack.plugins import registry, remedy

if TYPE_CHECKING:
    from fedtrack.engine import Engine, EngineCaps, Problem, RunHandle, RunStatus
    from fedtrack.job.fed_job import FedJob
    from fedtrack.runs.result import RunResult


def open_engine(name: str) -> Engine:
    """Return a new engine with every method of the protocol; it has connected to nothing yet.

    What the class of a plugin lacks comes from PartialEngine: the protocol grows, and an engine that was written
    before it did goes on working, also where it inherits from nothing. That is done here and not when plugins are
    loaded, because a listing needs no method; by inheritance and not by a wrapper, so that the engine stays what it is.

    Args:
        name: What users type after ``--engine``.

    Raises:
        PluginError: No installed plugin provides it.
    """
    cls = registry().engine(name)
    if not issubclass(cls, PartialEngine):
        cls = type(cls.__name__, (cls, PartialEngine), {"__module__": cls.__module__, "__doc__": cls.__doc__})
    opened: Engine = cls()
    return opened


class PartialEngine:
    """Base for engines that cannot do everything: each method raises NotSupported and says what to do instead.

    See ``fedtrack.engine.Engine`` for what the methods are for.
    """

    __slots__ = ()

    name: ClassVar[str]
    summary: ClassVar[str]

    def caps(self) -> EngineCaps:
        """Say that the engine does not describe itself."""
        self._refuse("does not say what it can do; see its documentation.")

    def write_model(self, model: Any, target: Path) -> None:
        """Say who writes models."""
        local = remedy.install("fedtrack[local]")
        self._refuse(f"writes no initial models; the engine that does comes with: {local}")

    def run(self, job: Path, workspace: Path, *, gpus: str | None = None, run_id: str | None = None) -> RunResult:
        """Say that a target is needed."""
        self._refuse(f"needs a target: fedtrack run JOB --engine {self.name} --target TARGET")

    def resume(self, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Say that a run can only be begun."""
        again = f"fedtrack submit JOB --engine {self.name} --target TARGET"
        self._refuse(f"cannot go on with a run; submit its job again: {again}")

    def simulate(self, job: FedJob, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Say that jobs are exported first."""
        self._refuse("takes exported jobs only; use job.export_job(FOLDER), then fedtrack submit.")

    def check(self, job: Path, target: str) -> list[Problem]:
        """Say that only the target itself knows."""
        self._refuse("cannot check a job before it is submitted.")

    def submit(self, job: Path, target: str, run_id: str | None = None) -> RunHandle:
        """Say that there is no target."""
        self._refuse(f"has no targets; stay until the run's end: fedtrack run JOB --engine {self.name}")

    def status(self, run: RunHandle) -> RunStatus:
        """Say that a run is not found again."""
        self._refuse("does not find a run again.")

    def wait(self, run: RunHandle, timeout: float | None = None) -> RunStatus:
        """Say that a run is not found again."""
        self._refuse("does not find a run again.")

    def abort(self, run: RunHandle) -> None:
        """Say that a run is not found again."""
        self._refuse("does not find a run again.")

    def fetch(self, run: RunHandle, dest: Path) -> RunResult:
        """Say that a run is not found again."""
        self._refuse("does not find a run again.")

    def drain(self, run: RunHandle, timeout: float = 300.0) -> RunHandle:
        """Say that there is nothing to bring in."""
        self._refuse("leaves nothing at its sites that could be drained; fetch the run: fedtrack runs fetch HANDLE")

    def close(self) -> None:
        """Do nothing."""

    def _refuse(self, what: str) -> NoReturn:
        raise NotSupported(f"The engine {self.name!r} {what}")
