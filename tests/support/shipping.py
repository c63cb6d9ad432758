"""A site's shipper and the server's intake, face to face, with a line between them that can be cut."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from fedtrack.errors import TransportError
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Metric, decode
from fedtrack.tracking.records import encode as encode_record
from fedtrack.transport.intake import Intake
from fedtrack.transport.wire import Ack, Frames, FromSite, decode_ack, encode

RUN = "run-1"
STREAM = "ab" * 16


@dataclass
class Line:
    """Between a site and the server.

    Attributes:
        faults: What happens to the next messages: "busy", "lost" (before it arrives), "deaf" (the answer is lost).
        sent: The messages that arrived, by their kind.
    """

    intake: Intake
    site: str = "site-1"
    faults: list[str] = field(default_factory=list)
    sent: list[FromSite] = field(default_factory=list)

    def call(self, message: FromSite) -> Ack:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "busy":
            return Ack("busy", retry_after=0.01)
        if fault == "lost":
            raise TransportError("the line is cut")
        self.sent.append(message)
        answer = decode_ack.decode(self.intake.handle(self.site, encode(message)))
        if fault == "deaf":
            raise TransportError("the answer was lost")
        return answer

    def count(self, kind: type) -> int:
        return sum(isinstance(message, kind) for message in self.sent)


def log(spool: Spool, count: int, start: int = 0) -> None:
    for step in range(start, start + count):
        spool.append(Metric(0, "loss", float(step), step))


def steps(journal: Journal, site: str = "site-1") -> list[int | None]:
    found = []
    for batch in journal.read(0):
        for _, payload in batch.events():
            record = decode(payload)
            assert batch.site == site
            assert isinstance(record, Metric)
            found.append(record.step)
    return found


def frames_of(payloads: dict[int, bytes], **changes: object) -> Frames:
    """Return the message that carries ``payloads`` by their numbers."""
    salt = frames.salt_of(STREAM)
    body = b"".join(frames.frame(seq, payload, salt) for seq, payload in payloads.items())
    first, last = min(payloads), max(payloads)
    return msgspec.structs.replace(Frames(RUN, STREAM, first - 1, 0, first, last, len(payloads), body), **changes)


def batch(first: int, last: int, **changes: object) -> Frames:
    """Return the message that carries metrics with these numbers, and steps that are equal to them."""
    records = {seq: encode_record(Metric(0, "loss", 1.0, seq)) for seq in range(first, last + 1)}
    return frames_of(records, **changes)
