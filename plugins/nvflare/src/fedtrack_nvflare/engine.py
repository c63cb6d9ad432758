"""NVFlareEngine: fedtrack jobs on FLARE's simulator, or on a FLARE system through an admin's startup kit.

A target is ``simulator:WORKSPACE`` or the folder of an admin's startup kit. FLARE is imported by the methods that
talk to it, never by this module.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fedtrack.engine import EngineCaps, Problem, RunHandle, RunState, RunStatus
from fedtrack.errors import EngineUnavailable, EngineVersionError, NotSupported
from fedtrack.partial_engine import PartialEngine
from fedtrack.plugins import remedy

if TYPE_CHECKING:
    from fedtrack import RunResult
    from fedtrack_nvflare.federation import Federation
    from fedtrack_nvflare.simulator import Simulator

SIMULATOR = "simulator:"
_OLDEST = (2, 7)


class NVFlareEngine(PartialEngine):
    """Runs jobs on FLARE; see ``fedtrack.engine.Engine``.

    It always needs a target, so ``run``, ``resume`` and ``simulate`` are those of PartialEngine.
    """

    name: ClassVar[str] = "nvflare"
    summary: ClassVar[str] = "NVIDIA FLARE: its simulator, or a federation through an admin's startup kit"

    def __init__(self) -> None:
        self._systems: dict[str, Federation | Simulator] = {}

    def caps(self) -> EngineCaps:
        """Return what this engine can do with the installed FLARE."""
        found = flare_version()
        return EngineCaps(
            name=self.name,
            version=found,
            script_lifetime="run",
            event_path="acked",
            max_batch_bytes=1024 * 1024,
            site_identity="authenticated" if _numbers(found) >= (2, 8) else "claimed",
            spool_survives="site",
            can_abort=True,
            can_reattach=True,
            live_read=True,
            can_drain=True,
        )

    def write_model(self, model: Any, target: Path) -> None:
        """Write an initial model to ``target``, as for a run on this machine."""
        from fedtrack_local import write_model

        write_model(model, target)

    def check(self, job: Path, target: str) -> list[Problem]:
        """Return the target's problems with a job."""
        from fedtrack.job import load_job
        from fedtrack_nvflare.export import job_notes, job_problems

        loaded = load_job(job, node="")
        found = [Problem(message) for message in job_problems(loaded)]
        found += [Problem(message, fatal=False) for message in job_notes(loaded)]
        return [*found, *self._system(target).check(loaded)]

    def submit(self, job: Path, target: str, run_id: str | None = None) -> RunHandle:
        """Send a job to the target and return at once."""
        return self._system(target).submit(job, run_id)

    def status(self, run: RunHandle) -> RunStatus:
        """Return the status of a run."""
        return self._system(run.target).status(run)

    def wait(self, run: RunHandle, timeout: float | None = None) -> RunStatus:
        """Wait until a run is over."""
        from time import monotonic, sleep

        from fedtrack.errors import EngineTimeout

        deadline = None if timeout is None else monotonic() + timeout
        while not (found := self.status(run)).state.is_final:
            if deadline is not None and monotonic() >= deadline:
                raise EngineTimeout(f"The run {run.run_id} is {found.state} after {timeout:g} s and goes on.")
            sleep(0.5)
        return found

    def abort(self, run: RunHandle) -> None:
        """End a run; events that the sites still have stay there, for a drain."""
        self._system(run.target).abort(run)

    def fetch(self, run: RunHandle, dest: Path) -> RunResult:
        """Download a finished run's results to ``dest``."""
        from fedtrack.errors import EngineTimeout

        found = self.status(run)
        if not found.state.is_final:
            raise EngineTimeout(f"The run {run.run_id} is {found.state}; wait for its end, then fetch it.")
        return self._system(run.target).fetch(run, dest.absolute())

    def drain(self, run: RunHandle, timeout: float = 300.0) -> RunHandle:
        """Collect the remaining events of a finished run; the simulator's sites are removed with their run."""
        from fedtrack_nvflare.federation import Federation

        system = self._system(run.target)
        if not isinstance(system, Federation):
            raise NotSupported("The simulator's sites are gone with their run; only a FLARE system can be drained.")
        drained = system.drain(run)
        status = self.wait(drained, timeout)
        if status.state is not RunState.COMPLETED:
            raise EngineUnavailable(f"The drain of {run.run_id} is {status.state}: {status.detail}")
        return drained

    def close(self) -> None:
        """Close the admin sessions."""
        for system in self._systems.values():
            system.close()
        self._systems.clear()

    def _system(self, target: str) -> Federation | Simulator:
        flare_version()
        if target not in self._systems:
            if target.startswith(SIMULATOR):
                from fedtrack_nvflare.simulator import Simulator

                self._systems[target] = Simulator(target)
            else:
                from fedtrack_nvflare.federation import Federation

                self._systems[target] = Federation(target)
        return self._systems[target]


def flare_version() -> str:
    """Return the version of the installed FLARE.

    Raises:
        EngineUnavailable: FLARE is not installed.
        EngineVersionError: FLARE is too old.
    """
    try:
        found = version("nvflare")
    except PackageNotFoundError:
        how = remedy.install("fedtrack[nvflare]")
        raise EngineUnavailable(f"FLARE is not installed; install it with: {how}") from None
    if _numbers(found) < _OLDEST:
        how = remedy.install("nvflare", upgrade=True)
        raise EngineVersionError(f"FLARE {found} is installed; this engine needs 2.7 or newer: {how}")
    return found


def _numbers(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)
