"""SharedSpool: one spool for the records of many sites that take turns in one process.

A file per site and process would cost more than the metrics of a short task. Instead, each payload is wrapped with the
name of its site; see ``hosted.py``.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import time_ns
from typing import Any

from fedtrack.policy.gate import Gate
from fedtrack.spool.hosted import prefix
from fedtrack.spool.place import Place, any_followed, follow_threads, place
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Record, Withheld, encode


class SharedSpool(Spool):
    """A spool whose records belong to the site that was last entered; see Spool for the arguments.

    After ``follow_threads``, the records of a thread belong to the site whose task has started the thread.

    With ``gates``, each site's records go through a gate of its own.

    A segment's header has no round, because each site has its own. A site's mark is valid until the end of the segment,
    and is repeated in the next one.
    """

    def __init__(self, folder: Path, *, gates: Callable[[str], Gate | None] | None = None, **options: Any) -> None:
        self._said_of: dict[str, int | None] = {}
        self._site = ""
        # Whether threads of earlier tasks may log. Then each call looks up its site, and none takes the fast path.
        self._is_mixed = False
        self._counts_of: Counter[str] = Counter()
        self._counted = 0
        self._gates = gates
        self._gate_of: dict[str, Gate | None] = {}
        self._withheld_of: Counter[str] = Counter()
        if gates is not None:
            options["gate"] = Gate([])  # stands for those of the sites
        super().__init__(folder, **options)
        self._encode = self._wrapped

    @staticmethod
    def follow_threads() -> None:
        """Let the threads that a site's task starts log under that site's name, also after the task."""
        follow_threads()

    @property
    def site(self) -> str:
        """The site that the calling code works for."""
        here = place.get()
        return here.site if here is not None else self._site

    def enter(self, site: str, round: int | None = None) -> None:
        """Assign all following records to ``site`` and that round, except those of threads of earlier tasks."""
        place.set(Place(site, round))
        with self._lock:
            self._plain_until = 0  # first: the fast path of another thread must not see the new site
            self._is_mixed = any_followed()
            self._switch(Place(site, round))

    def append(self, record: Record) -> None:
        """Store one record of the calling code's site; see ``Spool.append``."""
        if not self._is_mixed:
            super().append(record)
            return
        with self._in_own_place():
            super().append(record)

    def extend(self, records: Iterable[Record]) -> None:
        """Store several records of the calling code's site; see ``Spool.extend``."""
        if not self._is_mixed:
            super().extend(records)
            return
        with self._in_own_place():
            super().extend(records)

    def take_counts(self) -> dict[str, int]:
        """Return how many records each site has stored since the last call."""
        with self._lock:
            self._count()
            found, self._counts_of = self._counts_of, Counter()
        return {site: count for site, count in found.items() if site and count}

    def count_withheld(self, count: int) -> None:
        """Count log calls of the calling code's site that its policy keeps: the page has no counts by site."""
        super().count_withheld(count)
        with self._lock:
            self._withheld_of[self._site] += count
            self.note(Withheld(time_ns(), self._withheld_of[self._site]))

    def _pass_gate(self, gate: Gate) -> None:
        # The site of a call is known only in its place: no call takes the fast path.
        self.append_metric = self.append_metrics = _never  # type: ignore[method-assign,assignment]

    def withholds(self, kind: type[Record], key: object) -> bool:
        """Return whether the policy of the calling code's site keeps such a record; see ``Spool.withholds``."""
        with self._in_own_place():
            return super().withholds(kind, key)

    def _gate_here(self) -> Gate | None:
        if self._gates is None:
            return self.gate
        if self._site not in self._gate_of:
            self._gate_of[self._site] = self._gates(self._site)
        return self._gate_of[self._site]

    @contextlib.contextmanager
    def _in_own_place(self) -> Iterator[None]:
        with self._lock:
            entered, own = Place(self._site, self._round), place.get()
            if own is None or own == entered:
                yield
                return
            self._switch(own)
            try:
                yield
            finally:
                self._switch(entered)

    def _switch(self, to: Place) -> None:
        self._count()
        self._site, self._prefix = to.site, prefix(to.site)
        if isinstance(self._nested, SharedSpool):
            self._nested._switch(to)
        self._said = self._said_of.get(to.site)
        self.mark_round(to.round)

    def _count(self) -> None:
        """Assign the records that were stored since the last time to the present site."""
        stored = self.stored
        self._counts_of[self._site] += stored - self._counted
        self._counted = stored

    def _set_plain(self) -> None:
        super()._set_plain()
        if self._is_mixed:
            self._plain_until = 0

    def _wrapped(self, record: Record) -> bytes:
        return self._prefix + encode(record)

    def _inner(self) -> Spool:
        inner = super()._inner()
        if isinstance(inner, SharedSpool):
            inner._gates, inner._gate_of = self._gates, self._gate_of
            if self._gates is not None:
                inner.gate = self.gate
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


def _never(*_: Any) -> bool:
    return False
