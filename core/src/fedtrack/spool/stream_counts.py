"""StreamCounts: the counts of a stream, in the process's memory and in the stream's page."""

from __future__ import annotations

import contextlib
from pathlib import Path
from time import monotonic

from fedtrack.spool.counter_page import CounterPage, Extent
from fedtrack.tracking.counts import Counts

#: Seconds after a failed attempt to create the page before a counted call tries again.
_AGAIN_SECONDS = 0.05


class StreamCounts:
    """The counts of one stream; its owner makes one call at a time.

    Args:
        folder: The spool.
        stream: The stream's id.
        waits: Whether each count waits until it survives the loss of power.

    Attributes:
        now: The counts so far.
        extent: The stream's extent so far.
    """

    def __init__(self, folder: Path, stream: str, *, waits: bool = False) -> None:
        self.now = Counts()
        self.extent = Extent()
        self._folder = folder
        self._stream = stream
        self._waits = waits
        self._page: CounterPage | None = None
        self._again = 0.0

    def open(self) -> None:
        """Create the page if there is none. If that fails, readers do not know the counts."""
        if self._page is None:
            with contextlib.suppress(OSError, ValueError):
                self._page = CounterPage(self._folder, self._stream, self.now, self.extent)

    def add(self, *, dropped: int = 0, withheld: int = 0, rejected: int = 0) -> None:
        """Count log calls."""
        now = self.now
        self.now = Counts(now.dropped + dropped, now.withheld + withheld, now.rejected + rejected)
        if self._page is None and monotonic() >= self._again:
            self._again = monotonic() + _AGAIN_SECONDS
            self.open()
        elif self._page is not None:
            self._page.store(self.now)
        if self._waits:
            with contextlib.suppress(OSError):  # the log calls report a disk that does not confirm
                self.sync()

    def reach(self, extent: Extent) -> None:
        """Note that a segment begins or ends."""
        self.extent = extent
        if self._page is not None:
            self._page.store_extent(extent)

    def sync(self) -> None:
        """Make the counts survive the loss of power.

        Raises:
            OSError: The page cannot be written to the disk.
        """
        if self._page is not None:
            self._page.sync()

    def close(self) -> None:
        """Close the page until the next count."""
        page, self._page = self._page, None
        if page is not None:
            page.close()
