"""Delivered, skipped, refused, lost and pending are, at every moment, all events that a receiver listens to."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.delivery.report import ReceiverTally, count_receiver
from fedtrack.errors import Permanent, Transient
from fedtrack.tracking.events import Batch
from fedtrack.tracking.records import Gap, Metric, Rejected, Text, encode
from support.delivering import Bench, Scripted

#: What may be in a journal, and whether it is an event.
EVENTS = {
    "taken": encode(Metric(1, "loss", 1.0)),
    "refused": encode(Metric(1, "loss", -1.0)),
    "skipped": encode(Text(1, "t", "text")),
    "rejected": encode(Rejected(1, "k", "no")),
    "unknown": b"\x93\x1f\x01\x02",
    "garbage": b"\xc1",
    "empty": b"",
}
NO_EVENTS = {"gap": encode(Gap(1, 17, "full")), "mark": b"\x93\x20\x01\x02", "later mark": b"\x93\xcc\xc8\x01\x02"}
KINDS = EVENTS | NO_EVENTS

batches = st.lists(
    st.tuples(st.sampled_from("ab"), st.lists(st.sampled_from([*KINDS]), min_size=1, max_size=8)), max_size=6
)


class Fussy(Scripted):
    """Refuses negative values, and is down in the calls that the test names."""

    def __init__(self, down: set[int]) -> None:
        super().__init__()
        self.down = down
        self.max_records = 3

    def receive(self, batch: Batch) -> None:
        self.calls += 1
        if self.calls in self.down:
            raise Transient("down")
        if refused := [n for n, record in enumerate(batch.records) if record.value < 0]:  # type: ignore[attr-defined]
            raise Permanent("negative", refused if self.calls % 2 else None)


@settings(max_examples=60, deadline=None)
@given(
    first=batches,
    second=batches,
    listens=st.sampled_from(["ab", "a"]),
    down=st.sets(st.integers(1, 6)),
    steps=st.integers(0, 12),
    damaged=st.booleans(),
)
def test_every_event_is_counted_once_whatever_happens(
    first: list[tuple[str, list[str]]],
    second: list[tuple[str, list[str]]],
    listens: str,
    down: set[int],
    steps: int,
    damaged: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for file in (bench.journal.database, bench.ledger.database):
            file.writer.execute("PRAGMA synchronous=OFF")  # the power stays on

        def check() -> None:
            receiver = ReceiverTally("fussy", "server", id="r")
            counts = count_receiver(receiver, bench.journal, bench.ledger, listens.__contains__)
            addressed = sum(n for site, n in bench.journal.counts().items() if site in listens)
            assert counts.seen == counts.addressed == addressed

        def put(found: list[tuple[str, list[str]]]) -> None:
            for site, kinds in found:
                bench.log(*[KINDS[kind] for kind in kinds], site=site)

        put(first)
        if damaged and first:
            row = bench.journal.read(0)[-1]
            body = bytes([*row.body[:-1], row.body[-1] ^ 1])
            bench.journal.database.writer.execute("UPDATE batch SET body = ? WHERE id = ?", (body, row.id))
        # A life that ends somewhere, and one that goes on to the end.
        delivery = bench.delivery(Fussy(down), addressed=listens.__contains__)
        now = 0.0
        for _ in range(steps):
            now += delivery.step(now) or 0.0
            check()
        put(second)
        check()
        again = bench.delivery(Fussy(set()), addressed=listens.__contains__)
        again.drain("completed")
        while (wait := again.step(now)) is not None:
            now += wait
            check()
        report = again.report()
        assert report.pending == 0
        if not damaged:
            said = [kind for site, kinds in first + second if site in listens for kind in kinds]
            assert report.dead == sum(said.count(kind) for kind in ("refused", "unknown", "garbage", "empty"))
            skipped = {"text": said.count("skipped"), "rejected": said.count("rejected")}
            assert report.skipped == {kind: count for kind, count in skipped.items() if count}
            assert (report.delivered, report.lost) == (said.count("taken"), 0)
        bench.close()
