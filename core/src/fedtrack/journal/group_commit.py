"""GroupCommit: one COMMIT for the batches that many threads bring at the same time.

A COMMIT waits for the disk, for one to two milliseconds. With a COMMIT per message a journal takes 500 to 700 messages
a second, whatever their size. While one COMMIT is under way, the batches of other threads gather, and the next one
stores all of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.spool.frames import FrameRange

#: A COMMIT takes no further batch when it has this many bytes, so that its memory does not depend on the sites.
GROUP_BYTES = 8 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Waiting:
    """A batch whose thread waits for its COMMIT."""

    site: str
    stream: str
    run: FrameRange
    mark: int | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.mark is not None or self.error is not None


class GroupCommit:
    """Stores batches of many threads in a journal.

    Args:
        journal: The journal.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def apply(self, site: str, stream: str, run: FrameRange) -> int:
        """Store a batch and return the stream's new high-water mark, when both are committed.

        Raises:
            WorkspaceError: Nothing of this batch was stored: the disk is full or fails.
        """
        mine = _Waiting(site, stream, run)
        with self._lock:
            self._waiting.append(mine)
        while not mine.done:
            with self._turn:
                if not mine.done:
                    self._commit(self._take())
        if mine.error is not None:
            raise mine.error
        assert mine.mark is not None  # noqa: S101 - narrows the type: it is done, and has no error
        return mine.mark

    def _take(self) -> list[_Waiting]:
        """Return the batches of the next COMMIT, oldest first; at least one."""
        with self._lock:
            size = count = 0
            for item in self._waiting:
                size += len(item.run.body)
                count += 1
                if size >= GROUP_BYTES:
                    break
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _commit(self, taken: list[_Waiting]) -> None:
        try:
            marks = self._journal.apply_all([(item.site, item.stream, item.run) for item in taken])
        except WorkspaceError as error:  # the disk, which is the same for all
            for item in taken:
                item.error = error
        except Exception as error:
            if len(taken) == 1:
                taken[0].error = error
                return
            for item in taken:  # one of them is at fault, and only that one may fail
                self._commit([item])
        else:
            for item in taken:
                item.mark = marks[item.site, item.stream]
