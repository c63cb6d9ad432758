"""PartialEngine: the base of engines that do not support every method, and the function that opens an engine."""

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
    """Return a new engine with every method of the protocol; it has no connection yet.

    The methods that a plugin's class lacks come from PartialEngine. So the protocol can grow, and an older engine still
    works, also if its class has no base. This is done here and not when plugins are loaded, because a listing needs no
    method. It is done by inheritance and not by a wrapper, so that the engine keeps its attributes.

    Args:
        name: The name that users type after ``--engine``.

    Raises:
        PluginError: No installed plugin provides the engine.
    """
    cls = registry().engine(name)
    if not issubclass(cls, PartialEngine):
        cls = type(cls.__name__, (cls, PartialEngine), {"__module__": cls.__module__, "__doc__": cls.__doc__})
    opened: Engine = cls()
    return opened


class PartialEngine:
    """Base of engines that do not support every method: each method raises NotSupported and names the alternative.

    See ``fedtrack.engine.Engine`` for the meaning of the methods.
    """

    __slots__ = ()

    name: ClassVar[str]
    summary: ClassVar[str]

    def caps(self) -> EngineCaps:
        """Refuse: the engine does not describe itself."""
        self._refuse("does not say what it can do; see its documentation.")

    def write_model(self, model: Any, target: Path) -> None:
        """Refuse: another engine writes models."""
        local = remedy.install("fedtrack[local]")
        self._refuse(f"writes no initial models; the engine that does comes with: {local}")

    def run(self, job: Path, workspace: Path, *, gpus: str | None = None, run_id: str | None = None) -> RunResult:
        """Refuse: a target is needed."""
        self._refuse(f"needs a target: fedtrack run JOB --engine {self.name} --target TARGET")

    def resume(self, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Refuse: a run can only be started."""
        again = f"fedtrack submit JOB --engine {self.name} --target TARGET"
        self._refuse(f"cannot go on with a run; submit its job again: {again}")

    def simulate(self, job: FedJob, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Refuse: a job must be exported first."""
        self._refuse("takes exported jobs only; use job.export_job(FOLDER), then fedtrack submit.")

    def check(self, job: Path, target: str) -> list[Problem]:
        """Refuse: only the target itself can check."""
        self._refuse("cannot check a job before it is submitted.")

    def submit(self, job: Path, target: str, run_id: str | None = None) -> RunHandle:
        """Refuse: there is no target."""
        self._refuse(f"has no targets; stay until the run's end: fedtrack run JOB --engine {self.name}")

    def status(self, run: RunHandle) -> RunStatus:
        """Refuse: a run is not found again."""
        self._refuse("does not find a run again.")

    def wait(self, run: RunHandle, timeout: float | None = None) -> RunStatus:
        """Refuse: a run is not found again."""
        self._refuse("does not find a run again.")

    def abort(self, run: RunHandle) -> None:
        """Refuse: a run is not found again."""
        self._refuse("does not find a run again.")

    def fetch(self, run: RunHandle, dest: Path) -> RunResult:
        """Refuse: a run is not found again."""
        self._refuse("does not find a run again.")

    def drain(self, run: RunHandle, timeout: float = 300.0) -> RunHandle:
        """Refuse: the sites have no further events."""
        self._refuse("leaves nothing at its sites that could be drained; fetch the run: fedtrack runs fetch HANDLE")

    def close(self) -> None:
        """Do nothing."""

    def _refuse(self, what: str) -> NoReturn:
        raise NotSupported(f"The engine {self.name!r} {what}")
