"""Runs: the folders and counts of a run, and the commands that work on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.runs.bare_run import spool_home
    from fedtrack.runs.child_run import ChildRun, holder
    from fedtrack.runs.kept_receivers import NamedReceiver, keep_receivers
    from fedtrack.runs.live_run import LiveRun, Progress
    from fedtrack.runs.metric_table import MetricRow, MetricTable
    from fedtrack.runs.opened_run import OpenedRun, open
    from fedtrack.runs.page import print_summary
    from fedtrack.runs.result import SUMMARY_FILE, RoundSummary, RunResult
    from fedtrack.runs.run_state import RunView, view
    from fedtrack.runs.stored_run import StoredRun, find_run, find_runs
    from fedtrack.runs.stored_tally import tally_of
    from fedtrack.runs.tally import CountedSite, Goodbye, SiteTally, Tally, take_tally
    from fedtrack.runs.workspace import RUN_FOLDER, RunRecord, Workspace, read_record

_HOMES = {
    "ChildRun": "fedtrack.runs.child_run",
    "CountedSite": "fedtrack.runs.tally",
    "Goodbye": "fedtrack.runs.tally",
    "RUN_FOLDER": "fedtrack.runs.workspace",
    "LiveRun": "fedtrack.runs.live_run",
    "MetricRow": "fedtrack.runs.metric_table",
    "MetricTable": "fedtrack.runs.metric_table",
    "NamedReceiver": "fedtrack.runs.kept_receivers",
    "OpenedRun": "fedtrack.runs.opened_run",
    "Progress": "fedtrack.runs.live_run",
    "RoundSummary": "fedtrack.runs.result",
    "RunRecord": "fedtrack.runs.workspace",
    "RunResult": "fedtrack.runs.result",
    "RunView": "fedtrack.runs.run_state",
    "SUMMARY_FILE": "fedtrack.runs.result",
    "SiteTally": "fedtrack.runs.tally",
    "StoredRun": "fedtrack.runs.stored_run",
    "Tally": "fedtrack.runs.tally",
    "Workspace": "fedtrack.runs.workspace",
    "find_run": "fedtrack.runs.stored_run",
    "find_runs": "fedtrack.runs.stored_run",
    "holder": "fedtrack.runs.child_run",
    "keep_receivers": "fedtrack.runs.kept_receivers",
    "open": "fedtrack.runs.opened_run",
    "print_summary": "fedtrack.runs.page",
    "read_record": "fedtrack.runs.workspace",
    "spool_home": "fedtrack.runs.bare_run",
    "take_tally": "fedtrack.runs.tally",
    "tally_of": "fedtrack.runs.stored_tally",
    "view": "fedtrack.runs.run_state",
}

__all__ = [
    "RUN_FOLDER",
    "SUMMARY_FILE",
    "ChildRun",
    "CountedSite",
    "Goodbye",
    "LiveRun",
    "MetricRow",
    "MetricTable",
    "NamedReceiver",
    "OpenedRun",
    "Progress",
    "RoundSummary",
    "RunRecord",
    "RunResult",
    "RunView",
    "SiteTally",
    "StoredRun",
    "Tally",
    "Workspace",
    "find_run",
    "find_runs",
    "holder",
    "keep_receivers",
    "open",
    "print_summary",
    "read_record",
    "spool_home",
    "take_tally",
    "tally_of",
    "view",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
