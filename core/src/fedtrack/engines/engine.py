"""Engine: the protocol of whatever runs a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from fedtrack.job.fed_job import FedJob
    from fedtrack.job.run_result import RunResult


class Engine(Protocol):
    """Runs jobs somewhere.

    Class attributes:
        name: What users type after ``--engine``.
        summary: One line for listings.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def run(self, folder: Path, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Run the exported job in ``folder`` to its end and return what came of it.

        Args:
            folder: An exported job.
            workspace: Folder for everything that the run writes.
            gpus: GPU ids for the sites, comma-separated, dealt out in turn.

        Raises:
            ConfigError: The job is not valid; nothing was started.
            JobError: The run failed.
        """

    def simulate(self, job: FedJob, workspace: Path, *, gpus: str | None = None) -> RunResult:
        """Export ``job`` into the workspace and run it from there; see ``run``."""
