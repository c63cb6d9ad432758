"""Waker: tells the deliverers of a journal at once when it has new events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from fedtrack.delivery.deliverer.worker import Worker
from fedtrack.journal.journal import Journal


class Waker:
    """A thread that waits for the journal's commits.

    Args:
        journal: The journal, written by this process.
        workers: Returns the processes to wake.
    """

    def __init__(self, journal: Journal, workers: Callable[[], Iterable[Worker]]) -> None:
        self._journal = journal
        self._workers = workers
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="waker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._journal.appended:
            self._stopped = True
            self._journal.appended.notify_all()
        self._thread.join()

    def _work(self) -> None:
        commits = self._journal.commits
        while True:
            with self._journal.appended:
                while self._journal.commits == commits and not self._stopped:
                    self._journal.appended.wait()
                commits = self._journal.commits
                if self._stopped:
                    return
            for worker in self._workers():
                worker.channel.wake()
