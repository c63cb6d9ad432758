"""ConnectedRun: what ``fedtrack.connect`` returns: one site's part in a run of somebody else's federation."""

from __future__ import annotations

import atexit
import contextlib
import logging
import subprocess
import threading
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from fedtrack.connection.agent_lock import is_running, start
from fedtrack.connection.left import events_left
from fedtrack.connection.outbox import RunBox, SiteBox
from fedtrack.errors import FedtrackError
from fedtrack.output import say
from fedtrack.spool.segments import list_streams
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer, bound_here

log = logging.getLogger(__name__)

_LOOK_SECONDS, _POLL_SECONDS, _SILENT_SECONDS = 1.0, 0.05, 2.0


class Delivered(NamedTuple):
    """How far the records of a run have got when it was finished.

    Attributes:
        complete: Whether the collector has every log call of this process.
        left: Events that it has not confirmed; they are in ``folder``.
        reason: Why they were not sent, or "".
        folder: The spool.
        dropped: Log calls of this process that found no room on the disk or in the spool's limit.
    """

    complete: bool
    left: int
    reason: str
    folder: Path
    dropped: int = 0


class Way(Protocol):
    """The way from a spool to the collector."""

    def look(self) -> None:
        """Make sure that something ships the spool; called about once a second."""

    def delivered(self) -> Delivered:
        """Return how far the records have got, after the spool was closed."""


class ConnectedRun:
    """One site's part in a run; made by ``fedtrack.connect``.

    Used as a context manager, it finishes at the end of the block.

    Attributes:
        name: The run's name.
        site: The site's name.
        spool: The folder of the records that are on their way.
    """

    def __init__(self, name: str, site: str, spool: Spool, way: Way) -> None:
        self.name = name
        self.site = site
        self.spool = spool.folder
        self._spool = spool
        self._way = way
        self._writer = Writer(spool)
        self._over = threading.Event()
        self._finished: Delivered | None = None
        self._restore = bound_here(spool)
        way.look()
        _watch(self, self._over)
        _open.add(self)

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics of one step.

        Args:
            metrics: Values by name: real numbers, numpy scalars or one-element tensors.
            step: The script's step, or None.
        """
        self._writer.record_metrics(metrics, step)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log hyperparameters."""
        for key, value in params.items():
            self._writer.record_param(key, value)

    def direction(self, metric: str, better: str) -> None:
        """Say which values of a metric are the good ones; see ``Writer.record_direction``.

        Args:
            metric: Its name.
            better: ``"higher"`` or ``"lower"``.
        """
        self._writer.record_direction(metric, better)

    def round(self, number: int | None) -> None:
        """Say which round begins.

        Args:
            number: Counted from 0; None means outside of rounds. What is logged from now on belongs to it.
        """
        self._spool.mark_round(number)

    @contextlib.contextmanager
    def bound(self) -> Iterator[ConnectedRun]:
        """Let writers that are created inside the block, in this thread or task, log to this run.

        A new thread is bound to no run, so that the sites of one process are never mixed up.
        """
        restore = bound_here(self._spool)
        try:
            yield self
        finally:
            restore()

    def finish(self, timeout: float = 60.0) -> Delivered:
        """Log nothing more, and wait until the collector has everything.

        Args:
            timeout: Seconds to wait. What is left then stays in the outbox, and the agent goes on to send it if it
                outlives this process: not at the end of a container, a Slurm step or a service.

        Returns:
            How far the records have got. A second call returns the same.
        """
        if self._finished is None:
            self._restore()
            self._spool.close()
            found, dropped = self._wait(timeout), self._spool.dropped
            self._finished = found._replace(complete=found.complete and not dropped, dropped=dropped)
            self._over.set()
            _open.discard(self)
            if not found.complete:
                _say(self._left_text(found))
            if dropped:
                _say(f"{self.site}: {dropped:,} log calls found no room in {found.folder} and were dropped.")
        return self._finished

    def __enter__(self) -> ConnectedRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def _wait(self, timeout: float) -> Delivered:
        begun = monotonic()
        said = False
        while True:
            self._way.look()
            found = self._way.delivered()
            waited = monotonic() - begun
            if found.complete or waited >= timeout:
                return found
            if not said and waited >= _SILENT_SECONDS:
                said = True
                why = f" ({found.reason})" if found.reason else ""
                _say(f"{self.site}: waiting for the collector to confirm {found.left:,} events{why}")
            sleep(_POLL_SECONDS)

    def _left_text(self, found: Delivered) -> str:
        why = f": {found.reason}" if found.reason else ""
        return (
            f"{self.site}: {found.left:,} events are not confirmed by the collector{why}; they are in {found.folder}. "
            "The next connection to this run sends them, and so does `fedtrack agent`."
        )


class HttpsWay:
    """Through the agent and HTTPS.

    Args:
        run: The run's folder in the outbox.
        box: The site's folder in it.
        token: The site's token.
    """

    def __init__(self, run: RunBox, box: SiteBox, token: str) -> None:
        self._run = run
        self._box = box
        self._token = token
        self._agent: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Start an agent if there is none."""
        if self._agent is not None and self._agent.poll() is None:
            return
        if self._agent is None or not is_running(self._run):
            with contextlib.suppress(FedtrackError):  # a full disk, which the log calls report
                self._box.keep_token(self._token)  # an agent that had nothing left to do has deleted it
            self._agent = start(self._run)

    def delivered(self) -> Delivered:
        """Return how far the agent has got; other processes of the site may still log."""
        shipped = self._box.shipped()
        if not list_streams(self._box.spool) and shipped.complete:
            return Delivered(True, 0, "", self._box.spool)
        refused = "; ".join(sorted(set(shipped.refused.values())))
        return Delivered(False, events_left(self._box.spool), refused or shipped.waiting, self._box.spool)


class FolderWay:
    """Into a collector's folder, where the spool itself is the delivery."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def look(self) -> None:
        """Nothing needs to be started: the collector reads the spool."""

    def delivered(self) -> Delivered:
        """Everything is where it belongs as soon as it is logged."""
        return Delivered(True, 0, "", self._folder)


_open: weakref.WeakSet[ConnectedRun] = weakref.WeakSet()


def _watch(run: ConnectedRun, over: threading.Event) -> None:
    """Look after the run's way in the background, as long as the run exists."""
    reference = weakref.ref(run)

    def work() -> None:
        while not over.wait(_LOOK_SECONDS):
            current = reference()
            if current is None:
                return
            current._way.look()
            del current

    threading.Thread(target=work, name="fedtrack-connection", daemon=True).start()


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        say(f"fedtrack: {text}")


@atexit.register
def _finish_all() -> None:
    for run in list(_open):
        run.finish()
