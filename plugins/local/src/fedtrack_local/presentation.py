"""Presentation: how a run is shown while it goes on and at its end: to people, to programs, or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fedtrack import RunResult
from fedtrack.output import PROGRESS_STYLE, ProgressStyle
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.server import LocalServer


def shown_progress(run: ActiveRun, server: LocalServer) -> AbstractContextManager[Any]:
    """Return what shows the progress of a run as long as it is entered, in the style that was chosen."""
    style = PROGRESS_STYLE.get()
    if style is ProgressStyle.QUIET:
        return nullcontext()
    if style is ProgressStyle.JSON_LINES:
        from fedtrack_local.json_progress import JsonProgress

        return JsonProgress(run, server)
    from fedtrack_local.progress import Progress

    return Progress(run, server)


def show_end(result: RunResult) -> None:
    """Show the result of a run, in the style that was chosen."""
    style = PROGRESS_STYLE.get()
    if style is ProgressStyle.JSON_LINES:
        from fedtrack_local.json_progress import tell_end

        tell_end(result)
    elif style is not ProgressStyle.QUIET:
        from fedtrack.runs import print_summary

        print_summary(result)
