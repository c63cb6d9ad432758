"""Site specs: the start parameters of a site's process, made from the job."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fedtrack.job import LoadedSite
from fedtrack_local.models.model_memory import share_of
from fedtrack_local.processes.gpus import gpu_environment
from fedtrack_local.processes.messages import SiteSpec

if TYPE_CHECKING:
    from fedtrack_local.active_run import ActiveRun


def site_spec(site: LoadedSite, run: ActiveRun) -> SiteSpec:
    """Return the start parameters of the process of ``site``."""
    job, workspace = run.job, run.workspace
    folder = workspace.site(site.name)
    runner = site.runner
    index = [item.name for item in job.sites].index(site.name)
    environment = gpu_environment(run.gpus, index)
    threads = max(1, (os.cpu_count() or 1) // len(job.sites))
    if runner.launch_external_process:
        environment.setdefault("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", str(threads)))
        environment["PATH"] = _path(os.environ.get("PATH", os.defpath))
    return SiteSpec(
        name=site.name,
        run_id=run.info.run_id,
        script=str(site.script),
        args=site.script_args,
        custom=str(site.custom),
        spool=str(folder / "spool"),
        exchange=str(workspace.exchange / site.name),
        log=str(folder / "log.txt"),
        framework=runner.framework,
        external=_command(runner.command) if runner.launch_external_process else [],
        environment=environment,
        threads=threads,
        durability=job.meta.durability,
        spool_limit=job.meta.spool_limit,
        memory=share_of(len(job.sites)),
        config=job.script_config(site, site.name),
        terms=run.terms.of(site.name),
    )


def _path(path: str) -> str:
    """Return ``PATH`` so that ``python3``, ``torchrun`` and others behind a launcher are those of this environment."""
    own = str(Path(sys.executable).parent)
    return path if path.split(os.pathsep)[0] == own else f"{own}{os.pathsep}{path}"


def _command(command: str) -> list[str]:
    words = shlex.split(command)
    # The default means this Python, not whichever comes first in PATH.
    return [sys.executable, *words[1:]] if words[0] in ("python", "python3") else words
