"""FollowedRun: a run whose view file a thread keeps up to date as long as somebody looks at it."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from fedtrack.errors import FedtrackError
from fedtrack.runs import SUMMARY_FILE, StoredRun
from fedtrack_ui.rollup import reading
from fedtrack_ui.rollup.follower import Follower
from fedtrack_ui.rollup.view_file import FILE, ViewFile

log = logging.getLogger(__name__)

#: How often a journal is looked at; with the page's own waiting, a value is shown within two seconds.
_STEP_SECONDS = 0.25
#: For how long a run is followed after the last look at it.
_IDLE_SECONDS = 120.0
#: For how long an answer about the same events is used again: the page asks for several at once.
_KEEP_SECONDS = 2.0
#: What takes long to make, as of a run of 1,000 sites, is used for so many times as long.
_KEEP_TIMES = 5


class FollowedRun:
    """A run with its view file.

    The file is in the run's folder or, where that cannot be written, in a temporary one that ends with the process.

    Args:
        run: The run.
    """

    def __init__(self, run: StoredRun) -> None:
        self.run = StoredRun(run.kept)
        self._lock = threading.Lock()
        self._moved = threading.Condition()
        self._steps = 0
        self._is_behind = True
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._wanted = 0.0
        self._spare: TemporaryDirectory[str] | None = None
        self._kept: dict[str, tuple[int, float, Any]] = {}

    @property
    def path(self) -> Path:
        """The view file."""
        return (self.run.folder if self._spare is None else Path(self._spare.name)) / FILE

    @contextmanager
    def reading(self, patience: float = 3.0) -> Iterator[sqlite3.Connection]:
        """Open the view file for reading.

        Args:
            patience: Seconds to wait for the first look into the journal; a long one is read in many steps, and what
                has been read until then is shown.

        Raises:
            sqlite3.Error: It cannot be read, and the follower has not replaced it yet.
        """
        self._follow()
        self._wait(patience)
        view = ViewFile(self.path, write=False)
        try:
            view.database.execute("BEGIN")  # one state of the file for everything that is asked of it
            yield view.database
        finally:
            view.close()

    def catch_up(self) -> None:
        """Read the journal to its end; of a run that another process follows, wait until that one has read it."""
        self._follow()
        with self._moved:
            self._moved.wait_for(lambda: self._steps > 0 and not self._is_behind)

    @property
    def is_behind(self) -> bool:
        """Whether the journal has events that are not in the view file yet."""
        return self._is_behind

    def kept(self, name: str, database: sqlite3.Connection, make: Callable[[], Any]) -> Any:
        """Return what was made under a name a moment ago of the same events, or make it."""
        events, now = reading.events(database), monotonic()
        before = self._kept.get(name)
        if before is None or before[0] != events or now > before[1]:
            made = make()
            took = monotonic() - now
            before = self._kept[name] = (events, monotonic() + max(_KEEP_SECONDS, _KEEP_TIMES * took), made)
        return before[2]

    def version(self) -> str:
        """Return a text that changes whenever the run does: its events, its state, or its end."""
        parts = []
        with contextlib.suppress(sqlite3.Error), self.reading() as database:  # another process may be making it
            parts.append(str(reading.events(database)))
        for name in (SUMMARY_FILE, "run_progress.json"):
            with contextlib.suppress(OSError):
                parts.append(str((self.run.folder / name).stat().st_mtime_ns))
        return "-".join(parts)

    def close(self) -> None:
        """Stop following."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(10)
        if self._spare is not None:
            self._spare.cleanup()
            self._spare = None

    def _follow(self) -> None:
        with self._lock:
            self._wanted = monotonic()
            if self._thread is None or not self._thread.is_alive():
                self._is_behind, self._steps = True, 0
                self._thread = threading.Thread(target=self._work, name="fedtrack-view", daemon=True)
                self._thread.start()

    def _wait(self, patience: float) -> None:
        with self._moved:
            self._moved.wait_for(lambda: self._steps > 0, patience)

    def _work(self) -> None:
        view = self._opened()
        try:
            follower = Follower(self.run, view)
            while not self._over.is_set() and monotonic() - self._wanted < _IDLE_SECONDS:
                behind = self._step(follower) if view.is_writer else False
                with self._moved:
                    self._steps, self._is_behind = self._steps + 1, behind
                    self._moved.notify_all()
                if not behind:
                    self._over.wait(_STEP_SECONDS)
        finally:
            view.close()

    def _opened(self) -> ViewFile:
        """Open the file for writing, or for reading if another process writes it."""
        try:
            found = ViewFile(self.path)
        except (OSError, sqlite3.Error):
            found = None
        if found is not None:
            return found
        self._spare = TemporaryDirectory(prefix="fedtrack-view-")
        return ViewFile(self.path)

    def _step(self, follower: Follower) -> bool:
        try:
            return follower.step()
        except (FedtrackError, OSError, sqlite3.Error) as error:  # a run that begins, ends or is moved right now
            log.info("%s: %s; tried again", self.run.base, error)
            return False


class FollowedRuns:
    """The runs that were looked at, each followed once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, FollowedRun] = {}

    def of(self, name: str, run: StoredRun) -> FollowedRun:
        """Return the run of a name."""
        with self._lock:
            found = self._runs.get(name)
            if found is None or not found.run.folder.is_dir():
                found = self._runs[name] = FollowedRun(run)
            return found

    def close(self) -> None:
        """Stop following."""
        with self._lock:
            for run in self._runs.values():
                run.close()
            self._runs.clear()
