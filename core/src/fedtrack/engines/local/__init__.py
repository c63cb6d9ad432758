"""The embedded engine: the server in this process, every site a process of its own on this machine.

Registered through the same hook as any other engine; importing this module loads nothing of the engine itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fedtrack.markers import hookimpl

if TYPE_CHECKING:
    from fedtrack.job.fed_job import FedJob
    from fedtrack.job.run_result import RunResult


class LocalEngine:
    """Runs a job on this machine; see ``fedtrack.engines.engine.Engine``."""

    name: ClassVar[str] = "local"
    summary: ClassVar[str] = "every site is a process on this machine"

    def run(self, folder: Path, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Run the exported job in ``folder``."""
        from fedtrack.engines.local.launch import run_folder

        return run_folder(folder, workspace, gpus=gpus)

    def resume(self, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Go on with the run in ``workspace`` after its last finished round."""
        from fedtrack.engines.local.launch import resume

        return resume(workspace, gpus=gpus)

    def simulate(self, job: FedJob, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Export ``job`` into the workspace and run it from there."""
        from fedtrack.engines.local.launch import run_job

        return run_job(job, workspace, gpus=gpus)


@hookimpl
def fedtrack_engines() -> list[type[LocalEngine]]:
    """Provide the local engine."""
    return [LocalEngine]
