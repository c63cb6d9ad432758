"""Progress: shows rounds and sites while a job runs; live on a terminal, a line per round otherwise."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterable
from time import monotonic
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from fedtrack import Workflow
from fedtrack.terminal import Terminal
from fedtrack.visible import visible
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.server import LocalServer
from fedtrack_local.workflows.workflow import RoundResult

_POLL_SECONDS = 0.2

#: Where nobody can see a bar, a wait is said again after this many seconds.
_SAY_SECONDS = 10.0


class Progress:
    """Watches a run from a thread of its own, so that no workflow has to report to it.

    Args:
        run: The run.
        server: The server, with the rounds.
    """

    def __init__(self, run: ActiveRun, server: LocalServer) -> None:
        job = run.job
        self._server = server
        self._host = run.host
        self._waiting = run.waiting
        self._said = -math.inf
        self._sites = [site.name for site in job.sites]
        self._total = total_rounds(job.workflows.values())
        self._console = Terminal(sys.stderr)
        self._job_name = job.meta.name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._console.print(f"Running {self._job_name} with {_list(self._sites)}")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        if self._console.is_terminal:
            self._watch_live()
        else:
            self._watch_lines()

    def _watch_lines(self) -> None:
        shown = 0
        while True:
            ended = self._stop.wait(_POLL_SECONDS)
            for result in self._server.rounds[shown:]:
                self._console.print(_line(result, self._total))
                shown += 1
            self._say_waiting()
            if ended:
                return

    def _say_waiting(self) -> None:
        """Say for which receivers the end of the run waits, but not all the time."""
        if monotonic() - self._said >= _SAY_SECONDS and (waiting := self._waiting()):
            self._said = monotonic()
            self._console.print(f"waiting for {_list(waiting)}")

    def _watch_live(self) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
        )
        with Bar(*columns, console=self._console, transient=True) as bar:
            rounds = bar.add_task("rounds", total=self._total or None, note="")
            shown = 0
            while True:
                ended = self._stop.wait(_POLL_SECONDS)
                for result in self._server.rounds[shown:]:
                    bar.console.print(_line(result, self._total))
                    shown += 1
                bar.update(rounds, completed=shown, note=visible(self._note()))
                if ended:
                    return

    def _note(self) -> str:
        events = self._host.journal.total()
        # A copy: the server's thread changes it.
        waiting = sorted(self._server.waiting) or self._waiting()
        note = f"{events:,} events"
        if waiting:
            note += f", waiting for {_list(waiting)}"
        if self._server.failed:
            note += f", failed: {_list(sorted(self._server.failed))}"
        return note


def total_rounds(workflows: Iterable[Workflow]) -> int:
    """Return how many rounds a job has counted at its end, with those that a ``start_round`` leaves out."""
    total = 0
    for workflow in workflows:
        total = max(total, getattr(workflow, "start_round", 0)) + workflow.planned_rounds()
    return total


def _line(result: RoundResult, total: int) -> str:
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in sorted(result.metrics.items()))
    sites = f"{len(result.sites)} sites" if len(result.sites) != 1 else "1 site"
    number = f"{result.current_round} (of {total})" if total else f"{result.current_round}"
    text = f"round {number}: {sites}, {result.seconds:.1f} s"
    return f"{text}; received model: {metrics}" if metrics else text


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"
