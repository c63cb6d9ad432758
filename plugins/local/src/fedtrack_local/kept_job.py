"""Kept job: the copy of a job in the workspace, from which a run is resumed and replayed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from fedtrack.job import LoadedJob, LoadedSite
from fedtrack.private_folder import close_to_others
from fedtrack.runs import Workspace


def keep_job(job: LoadedJob, workspace: Workspace) -> LoadedJob:
    """Copy a job into the workspace and return it as if it had been read from there.

    So a resumed run uses the job that ran, not one that was edited since. A job in the workspace is not copied.
    """
    folder, root = job.folder.resolve(), workspace.root.resolve()
    if folder.is_relative_to(root):
        return _moved(job, workspace.root / folder.relative_to(root))
    target = workspace.root / "job" / folder.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    close_to_others(target)
    return _moved(job, target)


def _moved(job: LoadedJob, folder: Path) -> LoadedJob:
    """Return ``job`` with the paths of a copy in ``folder``; a read of the copy would build every receiver again."""
    before, after = job.folder.resolve(), folder.resolve()  # like a site's paths
    files: dict[Path, tuple[Path, Path]] = {}  # thousands of sites may share a script

    def moved_site(site: LoadedSite) -> LoadedSite:
        if site.script not in files:
            custom, script = (after / path.relative_to(before) for path in (site.custom, site.script))
            files[site.script] = (custom, script)
        custom, script = files[site.script]
        return replace(site, custom=custom, script=script)

    model = job.initial_model
    return replace(
        job,
        folder=folder,
        initial_model=None if model is None else folder / model.relative_to(job.folder),
        sites=[moved_site(site) for site in job.sites],
    )
