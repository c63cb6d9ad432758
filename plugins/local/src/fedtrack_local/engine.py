"""LocalEngine: the server in this process, every site a process of its own on this machine.

The import of this module loads no other part of the engine.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from fedtrack import FedJob, RunResult
    from fedtrack.engine import EngineCaps, Problem, RunHandle, RunStatus


class LocalEngine:
    """Runs a job on this machine; see ``fedtrack.engine.Engine``. A target is a workspace folder."""

    name: ClassVar[str] = "local"
    summary: ClassVar[str] = "every site is a process on this machine"

    def run(self, job: Path, workspace: Path, *, gpus: str | None = None, run_id: str | None = None) -> RunResult:
        """Run the exported job in the folder ``job``."""
        from fedtrack_local.processes.fork_server_process import ForkServerProcess

        _check(gpus)
        with ForkServerProcess() as process:
            from fedtrack_local.launch import run_folder  # meanwhile

            return run_folder(job, workspace, process, gpus=gpus, run_id=run_id)

    def resume(self, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Continue the run in ``workspace`` after its last finished round."""
        from fedtrack_local.launch import resume

        _check(gpus)
        return resume(workspace, gpus=gpus)

    def simulate(self, job: FedJob, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Export ``job`` into the workspace and run it from there."""
        from fedtrack_local.processes.fork_server_process import ForkServerProcess

        _check(gpus)
        # The server must not import torch: the memory would be used twice, and torch's threads do not survive a fork.
        with nullcontext() if "torch" in sys.modules else ForkServerProcess() as process:
            from fedtrack_local.launch import run_job  # meanwhile

            return run_job(job, workspace, process, gpus=gpus)

    def write_model(self, model: Any, target: Path) -> None:
        """Write an initial model to ``target``; a recipe is built in a process of its own."""
        from fedtrack_local.models.initial_model import write_model

        write_model(model, target)

    def caps(self) -> EngineCaps:
        """Return what this engine can do."""
        from importlib.metadata import version

        from fedtrack.engine import EngineCaps

        return EngineCaps(
            name=self.name,
            version=version("fedtrack"),
            script_lifetime="run",
            event_path="direct",
            max_batch_bytes=0,
            site_identity="authenticated",
            spool_survives="site",
            can_abort=True,
            can_reattach=True,
            live_read=True,
            can_run=True,
            can_resume=True,
            can_simulate=True,
        )

    def check(self, job: Path, target: str) -> list[Problem]:
        """Return the problems that the workspace ``target`` has with a job."""
        from fedtrack.engine import Problem
        from fedtrack.job import load_job
        from fedtrack.runs import holder

        load_job(job)
        if holder(Path(target) / "lock") is not None:
            return [Problem(f"The workspace {target!r} is in use; wait for its run or choose another folder.")]
        return []

    def submit(self, job: Path, target: str, run_id: str | None = None) -> RunHandle:
        """Start a run in the workspace ``target``, in a process of its own."""
        from fedtrack_local.detached import submit

        return submit(job, Path(target), run_id)

    def status(self, run: RunHandle) -> RunStatus:
        """Return the status of a run."""
        from fedtrack_local.detached import status

        return status(run)

    def wait(self, run: RunHandle, timeout: float | None = None) -> RunStatus:
        """Wait until a run is over."""
        from fedtrack_local.detached import wait

        return wait(run, timeout)

    def abort(self, run: RunHandle) -> None:
        """End a run; its records until then are delivered."""
        from fedtrack_local.detached import abort

        abort(run)

    def fetch(self, run: RunHandle, dest: Path) -> RunResult:
        """Copy a finished run's results to ``dest``."""
        from fedtrack_local.detached import fetch

        return fetch(run, dest)

    def drain(self, run: RunHandle, timeout: float = 300.0) -> RunHandle:
        """Refuse: the run has all events of its sites, because their spools are on this disk."""
        from fedtrack.errors import NotSupported

        raise NotSupported(
            "On this machine no site keeps events for itself; continue an interrupted run (fedtrack resume "
            f"{run.target}) or deliver its events (fedtrack runs replay {run.target})."
        )

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _check(gpus: str | None) -> None:
    """Refuse GPUs that are not here before anything starts."""
    from fedtrack_local.processes.gpus import check_gpus

    if gpus is not None:
        check_gpus(gpus)
