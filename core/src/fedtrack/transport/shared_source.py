"""SharedSource: reads the spool of a process that works for many sites, and assigns each record to its site."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.journal.journal import GapKind, Journal
from fedtrack.spool import frames
from fedtrack.spool.hosted import unwrap
from fedtrack.spool.rounds import SiteRounds
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Gap, decode, is_control
from fedtrack.transport.guard import Guard
from fedtrack.transport.spool_source import SpoolSource, StreamPass

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Part:
    """Frames of one site and one round."""

    first: int
    round: int | None
    last: int = 0
    frames: list[bytes] = field(default_factory=list)


class SharedSource(SpoolSource):
    """The spool folder of a process that hosts sites; see SpoolSource for the other arguments.

    Args:
        host: Name of the process; no site can have it.
        folder: Its spool folder.
        journal: The journal for the records, each under the name of its site.
        blobs: The store for their blobs.
        sites: The sites for which the process works; a record in any other name is reported as lost.
        guards: Returns the guard of a site, the same one each time, or None.
    """

    def __init__(
        self,
        host: str,
        folder: Path,
        journal: Journal,
        blobs: BlobStore,
        sites: Collection[str],
        *,
        guards: Callable[[str], Guard | None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(host, folder, journal, blobs, **options)
        self._guards = guards
        self._sites = frozenset(sites)
        self._site_rounds: dict[str, SiteRounds] = {}

    def end_log(self) -> None:
        """Note, and sign, that everything of each site was let out."""
        guards = self._guards
        if guards is None:
            return
        for site in sorted(self._sites):
            guard = guards(site)
            if guard is not None:
                guard.log.end()

    def _rounds(self, stream: str) -> SiteRounds:
        return self._site_rounds.setdefault(stream, SiteRounds())

    def forget(self, stream: StreamPass) -> None:
        """Return to the journal's mark at the next pass, and to the rounds at that mark."""
        super().forget(stream)
        self._site_rounds.pop(stream.stream, None)

    def _take(self, stream: StreamPass, run: frames.FrameRange) -> None:
        salt = frames.salt_of(stream.stream)
        # The mark shows how far the stream has been read, also if its last records belong to no site.
        stream.portion.marks = [(self.site, stream.stream, run.last)]
        found: dict[str, list[_Part]] = {}
        for seq, site, payload in self._split(stream.stream, run):
            round_ = self._rounds(stream.stream).of(site, payload)
            parts = found.setdefault(site, [])
            if not parts or parts[-1].round != round_:
                parts.append(_Part(seq, round_))
            parts[-1].last = seq
            parts[-1].frames.append(frames.frame(seq, bytes(payload), salt))
        for site, parts in found.items():
            for part in parts:
                unwrapped = frames.FrameRange(
                    part.first, part.last, len(part.frames), b"".join(part.frames), part.round
                )
                guard = self._guards(site) if self._guards is not None else None
                if guard is not None:
                    unwrapped = guard.let_out(stream.stream, unwrapped)
                kept = self._with_blobs(site, stream.stream, unwrapped)
                if kept is not None:
                    stream.portion.batches.append((site, stream.stream, kept))

    def _split(self, stream: str, run: frames.FrameRange) -> Iterator[tuple[int, str, memoryview]]:
        for seq, payload in frames.split(run.body):
            hosted = unwrap(payload)
            if hosted is None:
                self._report_unhosted(stream, seq, payload)
            elif hosted[0] in self._sites:
                yield seq, *hosted
            elif not is_control(hosted[1]):
                self._report_lost(stream, seq, f"record {seq} is of {hosted[0]!r}, which is not one of its sites")

    def _report_unhosted(self, stream: str, seq: int, payload: memoryview) -> None:
        if is_control(payload):
            return
        try:
            record = decode(payload)
        except msgspec.DecodeError:
            record = None
        if isinstance(record, Gap):
            # Without a count: the stream's page has the exact one.
            what = f"up to record {seq}, {record.count} log calls of its sites were dropped: {record.reason}"
            self._report_lost(stream, seq, what, count=None)
        else:
            self._report_lost(stream, seq, f"record {seq} was logged outside of a site's function")

    def _report_lost(self, stream: str, seq: int, what: str, count: int | None = 1) -> None:
        log.error("%s: %s", self.site, what)
        # Recorded before the host's mark is stored, and only once: a server that is killed in between finds it again.
        self.journal.record_gap(self.site, stream, GapKind.REFUSED, what, count=count, first=seq, last=seq)
