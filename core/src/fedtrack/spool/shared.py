"""SharedSpool: one spool for the records of many sites that take turns in one process.

A file per site and process would cost more than the metrics of a short task. Instead, each payload is wrapped with the
name of its site; see ``hosted.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedtrack.spool.hosted import prefix
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Record, encode


class SharedSpool(Spool):
    """A spool whose records belong to the site that was last entered; see Spool for the arguments.

    A segment's header has no round, because each site has its own. A site's mark is valid until the end of the segment,
    and is repeated in the next one.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._said_of: dict[str, int | None] = {}
        self._site = ""
        super().__init__(folder, **options)
        self._encode = self._wrapped

    def enter(self, site: str, round: int | None = None) -> None:
        """Assign all following records, of any thread, to ``site`` and that round."""
        with self._lock:
            self._site, self._prefix = site, prefix(site)
            if isinstance(self._nested, SharedSpool):
                self._nested.enter(site, round)
            self._said = self._said_of.get(site)
            self.mark_round(round)

    def _wrapped(self, record: Record) -> bytes:
        return self._prefix + encode(record)

    def _inner(self) -> Spool:
        inner = super()._inner()
        if isinstance(inner, SharedSpool):
            inner._site, inner._prefix = self._site, self._prefix
        return inner

    def _open_segment(self) -> None:
        self._said_of.clear()
        super()._open_segment()

    def _note_said(self, round: int | None) -> None:
        super()._note_said(round)
        self._said_of[self._site] = round

    def _header_round(self) -> int | None:
        return None
