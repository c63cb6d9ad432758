"""What is left of a run and what is said about it: its folders, its counts, and the commands that act on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.runs.child_run import ChildRun, holder
    from fedtrack.runs.page import print_summary
    from fedtrack.runs.result import (
        SUMMARY_FILE,
        ReceiverSummary,
        RoundSummary,
        RunResult,
        SiteSummary,
        receiver_summary,
    )
    from fedtrack.runs.stored_run import StoredRun
    from fedtrack.runs.workspace import RUN_FOLDER, RunRecord, Workspace, read_record

_HOMES = {
    "ChildRun": "fedtrack.runs.child_run",
    "RUN_FOLDER": "fedtrack.runs.workspace",
    "ReceiverSummary": "fedtrack.runs.result",
    "RoundSummary": "fedtrack.runs.result",
    "RunRecord": "fedtrack.runs.workspace",
    "RunResult": "fedtrack.runs.result",
    "SUMMARY_FILE": "fedtrack.runs.result",
    "SiteSummary": "fedtrack.runs.result",
    "StoredRun": "fedtrack.runs.stored_run",
    "Workspace": "fedtrack.runs.workspace",
    "holder": "fedtrack.runs.child_run",
    "print_summary": "fedtrack.runs.page",
    "read_record": "fedtrack.runs.workspace",
    "receiver_summary": "fedtrack.runs.result",
}

__all__ = [
    "RUN_FOLDER",
    "SUMMARY_FILE",
    "ChildRun",
    "ReceiverSummary",
    "RoundSummary",
    "RunRecord",
    "RunResult",
    "SiteSummary",
    "StoredRun",
    "Workspace",
    "holder",
    "print_summary",
    "read_record",
    "receiver_summary",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
