"""Simulator: a target whose server and sites are processes that FLARE's simulator starts on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from fedtrack import RunResult
from fedtrack.engine import Problem, RunHandle, RunState, RunStatus, checked_run_id
from fedtrack.errors import ConfigError, RunNotFound, WorkspaceError
from fedtrack.job import LoadedJob, load_job
from fedtrack.runs import RUN_FOLDER, SUMMARY_FILE, ChildRun
from fedtrack_nvflare.ending import read_state
from fedtrack_nvflare.export import export
from fedtrack_nvflare.node import FOLDER_VARIABLE, RESULTS


class Simulator:
    """FLARE's simulator.

    Args:
        target: ``simulator:WORKSPACE``; each run gets a folder of its own in the workspace.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        folder = target.partition(":")[2]
        if not folder:
            raise ConfigError("The target 'simulator:' names no workspace; give simulator:FOLDER.")
        self._root = Path(folder).absolute()

    def check(self, job: LoadedJob) -> list[Problem]:
        """Return no problem: the simulator takes every job that can be exported."""
        return []

    def submit(self, folder: Path, run_id: str | None) -> RunHandle:
        """Start the simulator."""
        chosen = checked_run_id(run_id)
        run = RunHandle("nvflare", self._target, chosen, chosen)
        child = ChildRun(self._root, chosen)
        if child.is_known:
            return run
        job = load_job(folder, node="")
        written = export(folder, self._root / chosen / "job", chosen)
        child.start(simulator_command(written, self._root / chosen / "workspace", [site.name for site in job.sites]))
        return run

    def status(self, run: RunHandle) -> RunStatus:
        """Return the status of a run."""
        child = ChildRun(self._root, run.run_id)
        if not child.is_known:
            raise RunNotFound(f"{self._root} holds no run {run.run_id!r}; it was another workspace, or was deleted.")
        if child.pid is not None:
            return RunStatus(RunState.RUNNING)
        end = read_state(self._node(run) / "runs" / run.run_id)
        if end is None:
            return RunStatus(RunState.FAILED, f"the simulator ended without a result; {child.last_words()}")
        return RunStatus(RunState(end.status), end.remark, end.events_complete, end.unserved)

    def abort(self, run: RunHandle) -> None:
        """End the simulator and its sites."""
        child = ChildRun(self._root, run.run_id)
        pid = child.pid
        if pid:
            os.killpg(pid, signal.SIGTERM)  # its own session: the simulator and every site that it started

    def fetch(self, run: RunHandle, dest: Path) -> RunResult:
        """Copy a run's results."""
        source = self._root / run.run_id / "workspace" / "server" / RUN_FOLDER / RESULTS
        return bring(source, dest, run.run_id, move=False)

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _node(self, run: RunHandle) -> Path:
        return self._root / run.run_id / "workspace" / "server" / "fedtrack"


def simulator_command(job: Path, workspace: Path, sites: list[str]) -> list[str]:
    """Return the command that runs a FLARE job in the simulator, each site in a process of its own."""
    environment = [f"PATH={Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"]
    names = ",".join(sites)
    simulate = [
        sys.executable,
        "-P",
        "-m",
        "nvflare.private.fed.app.simulator.simulator",
        str(job),
        "-w",
        str(workspace),
    ]
    return ["env", "-u", FOLDER_VARIABLE, *environment, *simulate, "-c", names, "-t", str(len(sites))]


def bring(source: Path, dest: Path, run_id: str, *, move: bool) -> RunResult:
    """Copy a run's results into the workspace ``dest``, in the layout of a local run.

    Raises:
        RunNotFound: There are no results.
        WorkspaceError: ``dest`` already has a run.
    """
    if not (source / SUMMARY_FILE).exists():
        raise RunNotFound(f"The run {run_id} left no results: its server died, or was killed before it could say.")
    target = dest / "server" / RUN_FOLDER
    if target.exists():
        raise WorkspaceError(f"{dest} holds a run already; choose another folder.")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    (shutil.move if move else shutil.copytree)(source, target)
    return RunResult.load(target / SUMMARY_FILE).moved(dest, target)
