"""Node: the folder of a node for files that must outlive a FLARE job.

FLARE deletes a job's run folder when the job ends, and after a kill the folder may also be gone. So a site's spool and
the server's journal are in a folder of the node, ``<FLARE workspace>/fedtrack`` unless the environment names another::

    <node>/sites/<site>/<run id>/spool/      kept until the server has all of it
    <node>/runs/<run id>/                    journal and results; moved into the run folder when complete
    <node>/runs/<run id>/state.json          kept, so that the admin can ask how the run ended
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.engine import checked_run_id

#: The variable with a node's folder, for launchers (containers, clusters) that do not keep the FLARE workspace.
FOLDER_VARIABLE = "FEDTRACK_NODE_FOLDER"

#: Name of the folder of results in a FLARE job's run folder, and of the job in its app.
RESULTS, JOB = "fedtrack", "fedtrack_job"

STATE_FILE = "state.json"


class RunEnd(msgspec.Struct):
    """The end of a run, as the server stores it; keys are only ever added.

    Attributes:
        status: ``completed``, ``failed`` or ``aborted``.
        missing: Sites without a goodbye, or whose events are not all in the journal.
        gaps: How many damaged or lost ranges are recorded in the journal.
        dropped: How many log calls were dropped at their site, as far as that is known.
        lost: How many logged events are lost, as far as that is known.
        complete: Whether every log call is known to be where it belongs; see ``RunResult.events_complete``.
        unserved: The receivers that got nothing; see ``RunResult.unserved``.
    """

    status: str
    missing: list[str]
    gaps: int
    dropped: int = 0
    lost: int = 0
    complete: bool = True
    unserved: list[str] = []

    @property
    def events_complete(self) -> bool:
        """Whether every event arrived."""
        return self.complete and not self.missing and not self.gaps

    @property
    def remark(self) -> str:
        """The missing goodbyes and events, as the end of a sentence; "" if nothing is missing."""
        parts = [f"no goodbye of {', '.join(self.missing)}"] if self.missing else []
        counted = {"gaps": self.gaps, "log calls dropped": self.dropped, "events lost": self.lost}
        parts += [f"{count:,} {what}" for what, count in counted.items() if count]
        return "; ".join(parts or ([] if self.complete else ["not every log call is known to have arrived"]))


def node_folder(fl_ctx: Any) -> Path:
    """Return the folder of the node with this FLARE context."""
    from nvflare.apis.fl_constant import FLContextKey

    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).absolute()
    workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT) or fl_ctx.get_engine().get_workspace()
    return Path(workspace.get_root_dir()).absolute() / "fedtrack"


def site_folder(fl_ctx: Any, site: str, run_id: str) -> Path:
    """Return a site's folder of a run."""
    return node_folder(fl_ctx) / "sites" / site / checked_run_id(run_id)


def server_folder(fl_ctx: Any, run_id: str) -> Path:
    """Return the server's folder of a run."""
    return node_folder(fl_ctx) / "runs" / checked_run_id(run_id)


def run_folder(fl_ctx: Any) -> Path:
    """Return the FLARE job's own folder, which an admin downloads."""
    workspace = fl_ctx.get_engine().get_workspace()
    return Path(workspace.get_run_dir(fl_ctx.get_job_id())).absolute()


def app_job_folder(fl_ctx: Any) -> Path:
    """Return the exported fedtrack job inside the current FLARE app."""
    workspace = fl_ctx.get_engine().get_workspace()
    return Path(workspace.get_app_custom_dir(fl_ctx.get_job_id())).absolute() / JOB
