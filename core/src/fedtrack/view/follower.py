"""ViewFollower: the thread that reads a journal as it grows, and writes the view's records into it.

The records of a round and the view's state are one transaction. So a process that is killed at any moment neither
repeats nor skips a round: the next one reads the journal again from the first batch of an open round.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.records import encode
from fedtrack.view.options import ViewOptions
from fedtrack.view.view import Emission, View
from fedtrack.view.view_state import ViewState, decode_state, encode_state

log = logging.getLogger(__name__)

#: The journal's key of the state.
KEY = "view"
_POLL_SECONDS = 0.25
#: The state is stored without records after this many batches, so that a restart reads little again.
_BATCHES_WITHOUT = 2000


class ViewFollower:
    """Follows the journal that this process writes.

    Args:
        journal: The journal.
        options: How the view is computed.
        sites: The sites of the run, if they are known.
        clock: Seconds; never runs back.
    """

    def __init__(
        self,
        journal: Journal,
        options: ViewOptions,
        sites: Sequence[str] = (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._journal = journal
        self._clock = clock
        state = decode_state(journal.meta(KEY))
        self._salt = frames.salt_of(state.stream)
        self._view = View(state, options, sites)
        self._position = self._stored = state.mark
        self._pending: list[Emission] = []
        self._failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="view", daemon=True)

    @property
    def state(self) -> ViewState:
        """The state of the view; it is stored with the next records."""
        return self._view.state

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def finish(self, status: str, limit: float = math.inf) -> None:
        """Write what is complete, when the journal gets no further records in this process.

        Args:
            status: ``completed`` if the run is over: then rounds that wait for a site are written, too.
            limit: Seconds after which the rest is left to the next process.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = self._clock() + limit
        try:
            while self.step() and self._clock() < deadline:
                pass
            self._pending += self._view.due(self._clock(), over=True, completed=status == "completed")
            self._write()
            self._store_state()
        except Exception:  # of any kind: the run is nevertheless delivered
            log.exception("the view of the sites is not complete")

    def step(self) -> bool:
        """Read new batches and write the rounds that are complete; return whether there may be more to read.

        Raises:
            WorkspaceError: The journal cannot be read.
        """
        if not self._write():
            return False
        batches = self._journal.read(self._position)
        now = self._clock()
        for batch in batches:
            self._view.take(batch, now)
            self._position = batch.id
        self._pending += self._view.due(now)
        self._write()
        if self._view.state.mark - self._stored > _BATCHES_WITHOUT:
            self._store_state()
        return bool(batches)

    def _loop(self) -> None:
        commits = -1
        while not self._stop.is_set():
            try:
                more = self.step()
            except Exception:  # of any kind: neither the run nor its receivers may suffer
                log.exception("the view of the sites ends here; nothing else is affected")
                return
            with self._journal.appended:
                if not more and self._journal.commits == commits:
                    self._journal.appended.wait(_POLL_SECONDS)
                commits = self._journal.commits
            self._stop.wait(_POLL_SECONDS / 2)  # a pass for many commits, and not one for each

    def _write(self) -> bool:
        """Store the rounds that are complete; return False if the disk is full: they are stored later."""
        while self._pending:
            try:
                self._commit(self._pending[0])
            except WorkspaceError as error:
                if not self._failed:
                    log.warning("the view of the sites waits: %s", error)
                self._failed = True
                return False
            self._failed = False
            self._pending.pop(0)
        return True

    def _commit(self, emission: Emission) -> None:
        stream = self._view.state.stream
        meta = {KEY: encode_state(emission.state)}
        if not emission.records:
            self._journal.apply_all([], meta=meta)
        else:
            first = self._journal.high_water(SERVER, stream) + 1
            payloads = [encode(record) for record in emission.records]
            body = b"".join(frames.frame(seq, payload, self._salt) for seq, payload in enumerate(payloads, start=first))
            run = frames.FrameRange(first, first + len(payloads) - 1, len(payloads), body, emission.round, plain=True)
            # Counted and ended: nobody else writes this stream, and it lies in no spool.
            self._journal.apply_all(
                [(SERVER, stream, run)], counts=[(SERVER, stream, Counts())], ends=[(SERVER, stream)], meta=meta
            )
        self._stored = emission.state.mark

    def _store_state(self) -> None:
        if not self._pending and self._view.state.mark > self._stored:
            self._journal.apply_all([], meta={KEY: encode_state(self._view.state)})
            self._stored = self._view.state.mark
