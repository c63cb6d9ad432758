"""LiveState: writes the progress of a run where other processes read it."""

from __future__ import annotations

import threading
from types import TracebackType

from fedtrack.runs import Progress
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.server import LocalServer

_POLL_SECONDS = 0.2

#: The most sites that are named one by one.
_MOST_SITES = 4


class LiveState:
    """Watches a run from a thread of its own; only a change is written.

    It does not share the thread that prints the progress, because a terminal that stops must not stop this one.

    Args:
        run: The run.
        server: The server, with the rounds.
    """

    def __init__(self, run: ActiveRun, server: LocalServer) -> None:
        self._run = run
        self._server = server
        self._rounds = sum(workflow.planned_rounds() for workflow in run.job.workflows.values())
        self._told: Progress | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="live state", daemon=True)

    def __enter__(self) -> LiveState:
        self.tell()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def tell(self) -> None:
        """Write the progress, if it has changed."""
        now = self._now()
        if now != self._told and self._run.workspace.live is not None:
            self._run.workspace.live.tell(now)
            self._told = now

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self.tell()
        self.tell()

    def _now(self) -> Progress:
        names, failed = self._run.roster.names, dict(self._server.failed)  # copies: the server's thread changes them
        up, waiting = len(names) - len(failed), sorted(self._server.waiting)
        return Progress(
            job_name=self._run.info.job_name,
            rounds_done=len(self._server.rounds),
            rounds=self._rounds,
            sites=len(names),
            up=up,
            # As long as no site has answered, the server waits for all of them, which says nothing.
            waiting=waiting[:_MOST_SITES] if len(waiting) < up else [],
            failed={name: str(failed[name]) for name in sorted(failed)[:_MOST_SITES]},
            ending=self._server.is_over,
        )
