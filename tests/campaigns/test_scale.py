"""10,000 sites that log 10 events each, into one journal and one receiver."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter

from fedtrack.testing import run_info
from fedtrack.tracking import frames
from fedtrack.tracking.delivery import Delivery
from fedtrack.tracking.events import Batch
from fedtrack.tracking.journal import Journal
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric, encode

SITES, EVENTS, GROUP = 10_000, 10, 500


class Counting(Receiver):
    """Counts what it takes, by site."""

    name = "counting"
    summary = "Counts."
    supports = frozenset({Metric})

    def open(self, run: RunInfo) -> None:
        self.taken: dict[str, list[int]] = {}

    def receive(self, batch: Batch) -> None:
        self.taken.setdefault(batch.site, []).extend(batch.seqs)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_nothing_is_lost_of_ten_thousand_sites(tmp_path: Path) -> None:
    before = resident_mib()
    batches = []
    for number in range(SITES):
        stream = f"{number:032x}"
        salt = frames.salt_of(stream)
        body = b"".join(frames.frame(seq, encode(Metric(seq, "loss", 1.0, seq)), salt) for seq in range(1, EVENTS + 1))
        batches.append((f"site-{number}", stream, frames.Run(1, EVENTS, EVENTS, body)))
    journal = Journal(tmp_path / "journal.db")
    receiver = Counting()
    delivery = Delivery("counting", receiver, journal, run_info(tmp_path / "run"))
    delivery.start()
    begun = perf_counter()
    for start in range(0, SITES, GROUP):
        marks = journal.apply_all(batches[start : start + GROUP])
        assert set(marks.values()) == {EVENTS}
    seconds = perf_counter() - begun
    for start in range(0, SITES, GROUP):  # all of it a second time: duplicates cost next to nothing and store nothing
        journal.apply_all(batches[start : start + GROUP])
    delivery.drain("completed")
    report = delivery.finish(30.0)
    print(f"{SITES / seconds:,.0f} batches/s, {resident_mib() - before:.0f} MiB more than before")
    assert journal.counts() == {f"site-{number}": EVENTS for number in range(SITES)}
    assert (report.delivered, report.pending, report.dead) == (SITES * EVENTS, 0, 0)
    assert receiver.taken == {f"site-{number}": list(range(1, EVENTS + 1)) for number in range(SITES)}
    assert resident_mib() - before < 300
    journal.close()
