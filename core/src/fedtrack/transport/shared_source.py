"""SharedSource: reads the spool of a process that works for many sites, and gives each site what it logged."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.shared import unwrap
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Gap, decode
from fedtrack.transport.forward_pass import Portion
from fedtrack.transport.forwarder import SpoolSource

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _SitePart:
    first: int
    last: int = 0
    frames: list[bytes] = field(default_factory=list)


class SharedSource(SpoolSource):
    """The spool folder of a process that hosts sites; see SpoolSource for the other arguments.

    Args:
        host: Name of the process; no site can have it.
        folder: Its spool folder.
        journal: Where the records go, each under the name of its site.
        blobs: Where their blobs go.
        sites: The sites that the process may speak for; what it says in any other name is a loss, and reported.
    """

    def __init__(
        self, host: str, folder: Path, journal: Journal, blobs: BlobStore, sites: Collection[str], **options: Any
    ) -> None:
        super().__init__(host, folder, journal, blobs, **options)
        self._sites = frozenset(sites)

    def _portion(self, stream: str, runs: list[frames.FrameRange]) -> Portion:
        salt = frames.salt_of(stream)
        # The mark says how far the stream has been read, also where its last records are none of a site.
        portion = Portion(marks=[(self.site, stream, runs[-1].last)])
        for run in runs:
            found: dict[str, _SitePart] = {}
            for seq, site, payload in self._split(stream, run):
                part = found.setdefault(site, _SitePart(seq))
                part.last = seq
                part.frames.append(frames.frame(seq, bytes(payload), salt))
            for site, part in found.items():
                unwrapped = frames.FrameRange(part.first, part.last, len(part.frames), b"".join(part.frames))
                self._adopt_blobs(unwrapped)
                portion.batches.append((site, stream, unwrapped))
        return portion

    def _split(self, stream: str, run: frames.FrameRange) -> Iterator[tuple[int, str, memoryview]]:
        for seq, payload in frames.split(run.body):
            hosted = unwrap(payload)
            if hosted is None:
                self._report_unhosted(stream, seq, payload)
            elif hosted[0] not in self._sites:
                self._report_lost(stream, seq, f"record {seq} is of {hosted[0]!r}, which is not one of its sites")
            else:
                yield seq, *hosted

    def _report_unhosted(self, stream: str, seq: int, payload: memoryview) -> None:
        try:
            record = decode(payload)
        except msgspec.DecodeError:
            record = None
        if isinstance(record, Gap):
            what = f"up to record {seq}, {record.count} log calls of its sites were dropped: {record.reason}"
        else:
            what = f"record {seq} was logged outside of a site's function"
        self._report_lost(stream, seq, what)

    def _report_lost(self, stream: str, seq: int, what: str) -> None:
        log.error("%s: %s", self.site, what)
        # Before the host's mark is stored, and recorded once: a server that is killed in between comes by again.
        self.journal.record_gap(self.site, stream, 0, what, seq, seq)
