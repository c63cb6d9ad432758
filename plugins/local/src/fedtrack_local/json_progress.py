"""JsonProgress: the progress of a run for programs: a line of JSON on standard output for each thing that happens.

Each line has ``event``: ``started``, ``round``, ``site_failed``, ``waiting`` or ``ended``. Keys are only ever added.
"""

from __future__ import annotations

import json
import sys
import threading
from types import TracebackType
from typing import Any

import msgspec

from fedtrack import RunResult
from fedtrack.output import tolerant
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.progress import total_rounds
from fedtrack_local.server import LocalServer
from fedtrack_local.workflows.round_metrics import summary_of

_POLL_SECONDS = 0.2


class JsonProgress:
    """Watches a run from a thread of its own, as ``Progress`` does.

    Args:
        run: The run.
        server: The server, with the rounds.
    """

    def __init__(self, run: ActiveRun, server: LocalServer) -> None:
        self._run = run
        self._server = server
        self._total = total_rounds(run.job.workflows.values())
        self._rounds = 0
        self._failed: set[str] = set()
        self._waiting: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="json progress", daemon=True)

    def __enter__(self) -> JsonProgress:
        job = self._run.job
        tell("started", job=job.meta.name, run_id=self._run.info.run_id, rounds=self._total, sites=len(job.sites))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            ended = self._stop.wait(_POLL_SECONDS)  # once more after the end
            self._tell_new()
            if ended:
                return

    def _tell_new(self) -> None:
        for name, error in list(self._server.failed.items()):
            if name not in self._failed:
                self._failed.add(name)
                tell("site_failed", site=name, error=str(error))
        for result in self._server.rounds[self._rounds :]:
            self._rounds += 1
            found = summary_of(result)
            tell(
                "round",
                round=found.current_round,
                rounds=self._total,
                sites=len(found.sites),
                failed=len(self._failed),
                metrics=found.metrics,
                seconds=round(found.seconds, 3),
                bytes=found.bytes,
                steps=found.steps,
                events=self._run.host.journal.total(),
            )
        waiting = sorted(self._run.waiting())
        if waiting != self._waiting:
            self._waiting = waiting
            if waiting:
                tell("waiting", receivers=waiting)


def tell_end(result: RunResult) -> None:
    """Print the last line: how the run has ended, with its counts.

    Args:
        result: The result.
    """
    tell(
        "ended",
        status=result.status,
        error=result.error,
        seconds=round(result.seconds, 3),
        rounds=len(result.rounds),
        final_metrics=result.final_metrics,
        sites=msgspec.to_builtins(result.sites),
        receivers=msgspec.to_builtins(result.receivers),
        events_complete=result.events_complete,
        unserved=result.unserved,
        folder=str(result.run),
    )


def tell(event: str, **facts: Any) -> None:
    """Print a line of JSON in ASCII, so that no name in it controls a terminal.

    Args:
        event: What happened.
        facts: The rest of the line.
    """
    stream = tolerant(sys.stdout)
    stream.write(json.dumps({"event": event} | facts) + "\n")
    stream.flush()
