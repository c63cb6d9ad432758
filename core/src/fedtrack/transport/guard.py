"""Guard: what a site's agent looks at before it lets a record out.

The agent is a process that the training script cannot change. It changes no value, so that what a site has signed is
what the server has: it only refuses records that the gate of the logging process cannot have released. A refused
record leaves an empty control record under its number, so that the stream has no hole that could be a loss.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fedtrack.policy.terms import Terms
from fedtrack.seals import chain
from fedtrack.seals.release_log import FILE, Line, Released, ReleaseLog
from fedtrack.seals.site_key import SiteKey
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import Control, Metric, Record, Withheld, decode, encode, kind_of

log = logging.getLogger(__name__)

_REFUSED = encode(Withheld(0, 0))


class Guard:
    """The look of one site's agent at its records.

    Args:
        site: The site.
        terms: What its records are released under; None releases all, and the log only signs.
        release_log: What was let out before, and from now on.
    """

    def __init__(self, site: str, terms: Terms | None, release_log: ReleaseLog) -> None:
        self.site = site
        self.log = release_log
        self._gate = None if terms is None else terms.gate()
        self._last: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._heads: dict[str, bytes] = {}
        #: The record that was let out of a key that has one a round.
        self._once: dict[tuple[str, int | None], tuple[str, int]] = {}
        for line in release_log.lines:
            self._remember(line)

    @classmethod
    def open(cls, site: str, run: str, folder: Path, terms: Terms | None) -> Guard | None:
        """Return the guard of a site, with its log in ``folder``; None if there are neither terms nor a key.

        Raises:
            FedtrackError: The key or the log cannot be used.
        """
        key = SiteKey.find(site)
        if terms is None and key is None:
            return None
        shown = "" if terms is None else terms.shown
        return cls(site, terms, ReleaseLog(folder / FILE, site, run, shown, key))

    def refused(self, stream: str) -> int:
        """Return how many records of a stream were refused."""
        return self._refused.get(stream, 0)

    @property
    def all_refused(self) -> int:
        """How many records of the site were refused."""
        return sum(self._refused.values())

    def counted(self, stream: str, counts: Counts | None) -> Counts | None:
        """Return the counts of a stream's page with what was refused here, which is withheld, too."""
        return None if counts is None else counts._replace(withheld=counts.withheld + self.refused(stream))

    def let_out(self, stream: str, run: FrameRange) -> FrameRange:
        """Return a run of frames without what the policy does not allow, and note what is let out.

        Frames that were noted before are judged again, with the same result, and are not noted twice.

        Raises:
            WorkspaceError: It cannot be noted; then nothing may be let out.
        """
        known = self._last.get(stream, 0)
        judged = [
            (seq, payload if ok else _REFUSED, record if ok else None, ok)
            for seq, payload, record, ok in self._judged(stream, run)
        ]
        new = [one for one in judged if one[0] > known]
        if new:
            head = self._heads.get(stream) or chain.start(self.site, stream)
            head = chain.extended(head, ((seq, payload) for seq, payload, _, _ in new))
            line = Line(
                stream=stream,
                first=new[0][0],
                last=new[-1][0],
                round=run.round,
                head=head.hex(),
                released=_counted((seq, record) for seq, _, record, ok in new if ok),
                refused=sum(not ok for *_, ok in new),
            )
            if line.refused:
                log.error("%s: %d records that its policy does not allow were refused", self.site, line.refused)
            self.log.write(line, len(new))
            self._remember(line)
        if all(ok for *_, ok in judged):
            return run
        salt = frames.salt_of(stream)
        body = b"".join(frames.frame(seq, bytes(payload), salt) for seq, payload, _, _ in judged)
        return FrameRange(run.first, run.last, run.count, body, run.round)

    def _judged(self, stream: str, run: FrameRange) -> Iterator[tuple[int, memoryview, Record | None, bool]]:
        for seq, payload in frames.split(run.body):
            try:
                record = decode(payload)
            except msgspec.DecodeError:
                record = None  # of a kind that only a newer version knows
            event = None if isinstance(record, Control) else record
            if self._gate is None:
                yield seq, payload, event, True
            else:
                # Exactly the record's own bytes: behind them, or in the bits of a NaN, anything could stand.
                plain = record is not None and encode(_canonical(record)) == payload
                ok = plain and record is not None and self._allows(stream, seq, record, run.round)
                yield seq, payload, event, ok

    def _allows(self, stream: str, seq: int, record: Record, round: int | None) -> bool:
        assert self._gate is not None  # noqa: S101 - the caller has looked
        if not self._gate.could_release(record):
            return False
        if isinstance(record, Metric) and self._gate.plan(record.key).once_a_round:
            # Two processes of a site, or one before and one after a kill, each have a gate of their own.
            return self._once.setdefault((record.key, round), (stream, seq)) == (stream, seq)
        return True

    def _remember(self, line: Line) -> None:
        if not line.stream:
            return
        self._last[line.stream] = line.last
        self._heads[line.stream] = bytes.fromhex(line.head)
        self._refused[line.stream] = self._refused.get(line.stream, 0) + line.refused
        for one in line.released:
            if one.kind == "metric" and self._gate is not None and self._gate.plan(one.key).once_a_round:
                self._once.setdefault((one.key, line.round), (line.stream, one.first))


def _canonical(record: Record) -> Record:
    if isinstance(record, Metric) and record.value != record.value:
        return msgspec.structs.replace(record, value=math.nan)
    return record


def _counted(records: Iterator[tuple[int, Record | None]]) -> list[Released]:
    counts: dict[tuple[str, str], list[int]] = {}
    for seq, record in records:
        if record is None:
            continue
        key = str(getattr(record, "path", None) or getattr(record, "key", ""))
        counts.setdefault((kind_of(record), key), [seq]).append(seq)
    return [Released(kind, key, len(seqs) - 1, seqs[0]) for (kind, key), seqs in counts.items()]
