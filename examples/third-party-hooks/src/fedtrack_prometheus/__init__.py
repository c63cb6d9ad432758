"""The prometheus plugin for fedtrack: it reports running jobs to Prometheus, through the life-cycle hooks.

It writes ``fedtrack_<run id>.prom`` into the folder that ``FEDTRACK_PROMETHEUS_DIR`` names, which node_exporter's
textfile collector reads. Without that variable it does nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from fedtrack import RunInfo, hookimpl

from fedtrack_prometheus.textfile import TextFile

__all__ = [
    "fedtrack_job_ended",
    "fedtrack_job_started",
    "fedtrack_result_received",
    "fedtrack_round_ended",
    "fedtrack_site_failed",
]

#: The files of the runs that this process serves, by run id.
_files: dict[str, TextFile] = {}


@hookimpl
def fedtrack_job_started(run: RunInfo) -> None:
    """Show the job as running."""
    if file := _file(run):
        file.set("fedtrack_job_running", "Whether the job is running.", 1)
        file.set("fedtrack_job_start_time_seconds", "When the run started.", run.started_ns / 1e9)
        file.set("fedtrack_job_sites", "How many sites the job names.", len(run.sites))
        file.write()


@hookimpl
def fedtrack_result_received(run: RunInfo, site: str) -> None:
    """Count a site's result."""
    if file := _file(run):
        file.add("fedtrack_results_total", "Results that sites have sent.", 1, site=site)
        file.write()


@hookimpl
def fedtrack_site_failed(run: RunInfo, site: str) -> None:
    """Count a site's failure."""
    if file := _file(run):
        file.add("fedtrack_site_failures_total", "Sites that died, timed out or were refused.", 1, site=site)
        file.write()


@hookimpl
def fedtrack_round_ended(run: RunInfo, current_round: int, metrics: Mapping[str, float]) -> None:
    """Show the metrics of the round."""
    if file := _file(run):
        file.set("fedtrack_round", "The last round that ended, counted from 0.", current_round)
        file.set("fedtrack_round_end_time_seconds", "When it ended.", time.time())
        for key, value in metrics.items():
            file.set("fedtrack_round_metric", "The sites' metrics, averaged.", value, key=key)
        file.write()


@hookimpl
def fedtrack_job_ended(run: RunInfo, status: str) -> None:
    """Show how the job ended; the file stays until somebody removes it."""
    if file := _file(run):
        del _files[run.run_id]
        file.set("fedtrack_job_running", "Whether the job is running.", 0)
        file.set("fedtrack_job_end_time_seconds", "When the job ended, and how.", time.time(), status=status)
        file.write()


def _file(run: RunInfo) -> TextFile | None:
    folder = os.environ.get("FEDTRACK_PROMETHEUS_DIR")
    if not folder:
        return None
    if run.run_id not in _files:
        labels = {"job_name": run.job_name, "run_id": run.run_id}
        _files[run.run_id] = TextFile(Path(folder) / f"fedtrack_{run.run_id}.prom", labels)
    return _files[run.run_id]
