"""CollectedRuns: every run of a collector: opened by a site's first message, closed at its end or when it is idle."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, time

from fedtrack.collector.collected_run import CollectedRun, Opening
from fedtrack.collector.ending import Ending, read_ending, write_ending
from fedtrack.collector.prometheus import Counted, exposition
from fedtrack.collector.room import Room
from fedtrack.connection.run_folder import RunFolder
from fedtrack.errors import FedtrackError, WorkspaceError
from fedtrack.runs.kept_receivers import NamedReceiver
from fedtrack.runs.result import RunResult
from fedtrack.runs.workspace import RUNS_FOLDER
from fedtrack.transport.quota import Quota
from fedtrack.transport.wire import Ack, decode_ack, encode

log = logging.getLogger(__name__)

#: Seconds without a message until a run whose end was asked for is closed: its sites may still be sending.
_QUIET_SECONDS = 2.0
#: Runs that are open at once; each has a process for its receivers.
MAX_OPEN = 32


class CollectedRuns:
    """The runs in a collector's folder.

    Args:
        folder: The collector's folder.
        receivers: The receivers of every run by id.
        idle_seconds: After how long without a message a run ends.
        room: The disk space that the runs may take.
        keep_days: After how many days an ended run is removed if every receiver has everything; None means never.
        quota: What each site may send; None means the usual one.
    """

    def __init__(
        self,
        folder: Path,
        receivers: Mapping[str, NamedReceiver],
        *,
        idle_seconds: float,
        room: Room,
        keep_days: float | None = None,
        quota: Quota | None = None,
    ) -> None:
        self._folder = folder
        self._receivers = receivers
        self._idle_seconds = idle_seconds
        self._room = room
        self._keep_days = keep_days
        self._quota = quota
        self._runs: dict[str, Opening] = {}
        self._lock = threading.Lock()
        self._counted = Counted()
        self._closing = ThreadPoolExecutor(4, "fedtrack-closing")
        self._being_closed: set[str] = set()

    @property
    def full(self) -> str:
        """Why nothing is stored any more; "" if there is room."""
        return self._room.full

    def handle(self, run: str, site: str, data: bytes) -> bytes:
        """Answer a message of a site; opens the run if necessary.

        Raises:
            FedtrackError: The run cannot be opened.
        """
        opened = self._open(run)
        answer = opened.handle(site, data) if opened else encode(Ack("busy", retry_after=1.0, reason="being closed"))
        self._counted.message(run, site, len(data), decode_ack.decode(answer).verdict)
        return answer

    def resume(self) -> None:
        """Open the runs that were open when an earlier process ended, so that what it left is delivered."""
        for name in self.names():
            if read_ending(RunFolder(self._folder, name)).ended is None:
                try:
                    self._open(name)
                except FedtrackError as error:
                    log.error("%s: %s", name, error)

    def names(self) -> list[str]:
        """Return the names of all runs."""
        return sorted(path.name for path in (self._folder / RUNS_FOLDER).glob("[!.]*") if path.is_dir())

    def step(self) -> None:
        """Look for runs to open, to close and to remove; called about once a second."""
        self._room.look()
        now = monotonic()
        for name in self.names():
            folder = RunFolder(self._folder, name)
            run = self._opening(name).run
            if run is None:
                self._look_at_closed(folder)
                continue
            run.look()
            ending, quiet = read_ending(folder), now - run.last
            if name in self._being_closed:
                continue
            if (ending.asked and quiet >= _QUIET_SECONDS) or quiet >= self._idle_seconds:
                self._being_closed.add(name)
                self._closing.submit(self._close, name, "completed")

    def close(self) -> None:
        """Close every run that is open; it goes on with the next process."""
        for name in list(self._runs):
            if self._opening(name).run is not None and name not in self._being_closed:
                self._being_closed.add(name)
                self._closing.submit(self._close, name, "running")
        self._closing.shutdown(wait=True)

    def metrics(self) -> str:
        """Return the collector's own metrics, in the text format of Prometheus."""
        opened = {name: one.run for name, one in list(self._runs.items()) if one.run is not None}
        return exposition(self._counted, {name: run.receivers() for name, run in opened.items()}, self._room)

    def _opening(self, name: str) -> Opening:
        with self._lock:
            return self._runs.setdefault(name, Opening())

    def _open(self, name: str) -> CollectedRun | None:
        """Return the open run; None while it is being closed."""
        opening = self._opening(name)
        if opening.run is not None and name not in self._being_closed:
            return opening.run
        with opening.lock:
            if name in self._being_closed:
                return None
            if opening.run is None:
                if sum(one.run is not None for one in list(self._runs.values())) >= MAX_OPEN:
                    raise WorkspaceError(f"{MAX_OPEN} runs are open already; end those that are over.")
                folder = RunFolder(self._folder, name)
                opening.run = CollectedRun(folder, self._receivers, self._quota)
                log.info("%s: open", name)
            return opening.run

    def _close(self, name: str, status: str) -> None:
        opening = self._opening(name)
        try:
            with opening.lock:
                run, opening.run = opening.run, None
                if run is not None:
                    self._note_end(run.folder, status, run.close(status))
        except Exception:
            log.exception("%s: not closed in order; the next start delivers what is left", name)
        finally:
            self._being_closed.discard(name)

    def _note_end(self, folder: RunFolder, status: str, result: RunResult) -> None:
        pending = sum(one.pending for one in result.receivers.values())
        log.info("%s: closed (%s), %d events to deliver later", folder.name, status, pending)
        if status != "running":
            write_ending(folder, Ending(asked=read_ending(folder).asked, ended=time(), delivered=pending == 0))

    def _look_at_closed(self, folder: RunFolder) -> None:
        """Open a run again to which a site has written in its folder, and remove one that was kept long enough."""
        ending = read_ending(folder)
        try:
            if any(path for site in folder.sites() for path in folder.spool(site).glob("*.spool")):
                self._open(folder.name)
            elif (
                self._keep_days is not None
                and ending.ended is not None
                and ending.delivered
                and time() - ending.ended > self._keep_days * 86_400
            ):
                with self._opening(folder.name).lock:
                    log.info("%s: removed, %g days after its end; every receiver has it", folder.name, self._keep_days)
                    shutil.rmtree(folder.base, ignore_errors=True)
        except FedtrackError as error:
            log.error("%s: %s", folder.name, error)
