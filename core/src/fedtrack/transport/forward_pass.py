"""ForwardPass: one pass over all spools, which stores the frames of many of them in one transaction.

A COMMIT waits for the disk. With a COMMIT per site, eight sites would be half as fast as one, so the sites of a pass
share it. Only if it fails does each stream get a COMMIT of its own, which shows the stream that caused the failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fedtrack.journal.journal import Journal
from fedtrack.transport.spool_source import SpoolSource, StreamPass

#: Frames are stored when they have this many bytes, so the memory of a pass does not depend on the number of sites.
GROUP_BYTES = 8 * 1024 * 1024
#: The least share of a source in a pass.
_LEAST_SHARE = 256 * 1024


class ForwardPass:
    """One pass over spools.

    Attributes:
        found: Whether new records were stored, so that there may be more.
        failures: The first failure of each source; its other streams, and the other sources, were forwarded.
    """

    def __init__(self) -> None:
        self.found = False
        self.failures: dict[SpoolSource, Exception] = {}
        self._open: list[StreamPass] = []
        self._bytes = 0

    def run(self, sources: Iterable[SpoolSource]) -> None:
        """Move the readable records into the journal, at most a few MiB of each stream."""
        try:
            sources = list(sources)
            # A share for each, so that one with much to read delays the others by its share and not by its backlog.
            share = max(_LEAST_SHARE, GROUP_BYTES // max(1, len(sources)))
            for source in sources:
                self._read(source, share)
            self._store()
        except BaseException:
            for stream in self._open:
                stream.source.forget(stream)
            raise

    def _read(self, source: SpoolSource, share: int) -> None:
        try:
            streams = source.begin(share)
        except Exception as error:  # of any kind: the other sites' records must not wait for this one
            self.failures[source] = error
            return
        for stream in streams:
            if not source.has_turn:
                self.found = True  # the next pass begins with this stream
                source.pass_over(stream)
                continue
            self._open.append(stream)
            if self._attempt(stream, source.read):
                self._bytes += stream.portion.size
            if self._bytes >= GROUP_BYTES:
                self._store()

    def _store(self) -> None:
        journals: dict[Journal, list[StreamPass]] = {}
        for stream in self._open:
            journals.setdefault(stream.source.journal, []).append(stream)
        for journal, streams in journals.items():
            for stream in self._applied(journal, streams):
                self.found |= self._attempt(stream, stream.source.settle) and stream.found
        self._open, self._bytes = [], 0

    def _applied(self, journal: Journal, streams: list[StreamPass]) -> list[StreamPass]:
        """Store the portions of ``streams`` and return the streams without a failure."""
        try:
            _apply(journal, streams)
        except Exception:
            return [stream for stream in streams if self._attempt(stream, lambda one: _apply(journal, [one]))]
        return streams

    def _attempt(self, stream: StreamPass, step: Callable[[StreamPass], None]) -> bool:
        try:
            step(stream)
        except Exception as error:
            self.failures.setdefault(stream.source, error)
            # The portion may not have been stored: the next pass returns to the journal's mark.
            stream.source.forget(stream)
            self._open.remove(stream)
            return False
        return True


def _apply(journal: Journal, streams: list[StreamPass]) -> None:
    portions = [stream.portion for stream in streams if stream.portion]
    if portions:
        journal.apply_all(
            [batch for portion in portions for batch in portion.batches],
            [mark for portion in portions for mark in portion.marks],
            [counts for portion in portions for counts in portion.counts],
            [end for portion in portions for end in portion.ends],
        )
