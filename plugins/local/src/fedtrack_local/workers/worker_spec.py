"""Worker specs: the start parameters of a worker, made from the job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fedtrack import ClientAppRunner
from fedtrack.runs.worker_folders import next_worker_folder, spool_of, worker_name
from fedtrack_local.models.model_memory import share_of
from fedtrack_local.processes.gpus import gpu_environment
from fedtrack_local.processes.messages import WorkerSpec

if TYPE_CHECKING:
    from fedtrack_local.active_run import ActiveRun
from fedtrack_local.workers.groups import groups_of


def worker_spec(workers: int, runner: ClientAppRunner, run: ActiveRun) -> WorkerSpec:
    """Return the start parameters of the next worker, and make its folder.

    Args:
        workers: How many workers run at a time.
        runner: The job's settings of the workers.
        run: The run.
    """
    job, workspace = run.job, run.workspace
    folder = next_worker_folder(workspace.workers)
    site = job.sites[0]
    return WorkerSpec(
        name=worker_name(folder),
        run_id=run.info.run_id,
        script=str(site.script),
        app=runner.app,
        args=runner.args,
        custom=str(site.custom),
        spool=str(spool_of(folder)),
        states=str(workspace.workers / "states"),
        position=str(folder / "position"),
        log=str(folder / "log.txt"),
        framework=runner.framework,
        environment=gpu_environment(run.gpus, int(folder.name.rpartition("-")[2]) - 1),
        threads=runner.threads or max(1, (os.cpu_count() or 1) // workers),
        total_sites=len(job.sites),
        durability=job.meta.durability,
        spool_limit=job.meta.spool_limit,
        memory=share_of(sum(1 for _ in groups_of([site.name for site in job.sites]))),
        terms=run.terms,
    )
