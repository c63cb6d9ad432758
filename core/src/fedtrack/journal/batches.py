"""StoredBatch: one row of the journal, and the events among its records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedtrack.spool import frames


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One row of the journal: consecutive records of one stream, of one round.

    Attributes:
        id: Position in the journal; ascends in the order of arrival.
        site: The site, as the channel named it.
        stream: The stream's id.
        count: How many of the records are events.
        body: The frames of the records; see ``frames.split``.
        round: The round in which they were logged, counted from 0; None if it is unknown.
        lost: How many events the row has lost, because it was changed on the disk.
        lost_bytes: How many bytes the row has lost.
        last: The number of its last record; 0 if that is not known.
    """

    id: int
    site: str
    stream: str
    count: int
    body: bytes
    round: int | None = None
    lost: int = 0
    lost_bytes: int = 0
    last: int = 0

    def events(self) -> Iterator[tuple[int, memoryview]]:
        """Yield (seq, payload) of the records that are events."""
        for seq, payload in frames.split(self.body):
            if frames.is_event(payload):
                yield seq, payload

    def recount(self) -> int:
        """Return the number of events, counted again; ``count`` of format 1 includes gap records."""
        total = events = 0
        for _, payload in frames.split(self.body):
            total += 1
            events += frames.is_event(payload)
        return total if self.count == total else events

    @property
    def damage(self) -> str:
        """The damage to the row, as a text for people."""
        return (
            f"batch {self.id} of the journal was changed after it was written: {self.lost} of "
            f"{self.count + self.lost} events"
        )


def salvaged(batch: StoredBatch, first: int, last: int) -> StoredBatch:
    """Return the intact frames of a batch that was changed on the disk; each frame has a checksum of its own.

    Args:
        batch: The batch as it was read.
        first: Number of its first record.
        last: Number of its last record; pages that changed places may have brought intact frames of another batch.
    """
    salt = frames.salt_of(batch.stream)
    found = frames.scan(batch.body, salt, previous=first - 1, after_seq=0, final=True)
    runs = [_up_to(part, last) for part in found.parts if isinstance(part, frames.FrameRange) and part.first <= last]
    body = b"".join(run.body for run in runs)
    count = min(batch.count, sum(run.events for run in runs))
    lost = len(batch.body) - len(body)
    return StoredBatch(batch.id, batch.site, batch.stream, count, body, batch.round, batch.count - count, lost, last)


def _up_to(run: frames.FrameRange, last: int) -> frames.FrameRange:
    """Return the frames of a run up to a number."""
    if run.last <= last:
        return run
    _, count, rest = frames.tail(run.body, last)
    return frames.FrameRange(run.first, last, run.count - count, run.body[: len(run.body) - len(rest)], run.round)
