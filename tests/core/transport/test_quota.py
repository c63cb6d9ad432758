"""Quotas: one that sends too much is told to wait, by a clock that the test turns, and nobody else notices."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.tracking.blobs import BlobStore
from fedtrack.transport.intake import Intake
from fedtrack.transport.quota import OVER_QUOTA, Quota, SiteQuota
from fedtrack.transport.wire import Damage, FilePart, decode_ack, encode
from support.shipping import RUN, STREAM, batch

pytestmark = pytest.mark.threat("T2")

SMALL = Quota(events_per_second=10, bytes_per_second=1_000_000, burst_seconds=1, unfinished_files=3, losses=5)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def intake(journal: Journal, tmp_path: Path, clock: Clock) -> Intake:
    return Intake(RUN, journal, BlobStore(tmp_path / "blobs"), SMALL, clock)


def test_a_flooder_gets_its_rate_and_no_more_however_often_it_asks(clock: Clock) -> None:
    used = SiteQuota(SMALL, clock)
    taken = 0
    for _ in range(10_000):  # ten seconds of a site that asks a thousand times a second
        taken += used.take(1, 100) == 0.0
        clock.now += 0.001
    assert 100 <= taken <= 111  # the rate, and what may come at once
    assert used.refused == 10_000 - taken


def test_the_wait_is_how_long_it_takes(clock: Clock) -> None:
    used = SiteQuota(SMALL, clock)
    assert used.take(10, 0) == 0.0
    assert used.take(5, 0) == pytest.approx(0.5)
    clock.now += 0.5
    assert used.take(5, 0) == 0.0
    assert used.take(0, 3_000_000) == 0.0  # more than all that may come at once: taken, and then paid for
    assert used.take(0, 1) == pytest.approx(2.0, abs=0.01)


def test_what_is_over_the_quota_stays_at_its_site_and_the_others_are_served(
    intake: Intake, journal: Journal, clock: Clock
) -> None:
    def send(site: str, first: int, last: int) -> tuple[str, float]:
        ack = decode_ack.decode(intake.handle(site, encode(batch(first, last, after=first - 1))))
        assert ack.verdict == "stored" or ack.reason.endswith(OVER_QUOTA)
        return ack.verdict, ack.retry_after

    assert send("site-1", 1, 10)[0] == "stored"
    turns = [send("site-1", 11, 20)[0] for _ in range(50)]
    assert set(turns) == {"busy"}
    for number in range(1, 10):
        assert send(f"honest-{number}", 1, 5)[0] == "stored"
    assert intake.refused() == {"site-1": 50}
    verdict, wait = send("site-1", 11, 20)
    clock.now += wait
    assert (verdict, send("site-1", 11, 20)[0]) == ("busy", "stored")
    assert journal.high_water("site-1", STREAM) == 20
    assert sum(journal.counts().values()) == 20 + 9 * 5


def test_one_site_does_not_take_the_places_of_the_others(clock: Clock) -> None:
    used = SiteQuota(SMALL, clock)
    assert [used.begin() for _ in range(SMALL.messages + 2)] == [True] * SMALL.messages + [False, False]
    used.end()
    assert used.begin()


def test_files_of_which_only_a_part_came_are_limited(intake: Intake, clock: Clock) -> None:
    def send(site: str, name: int, data: bytes = b"ab") -> str:
        clock.now += 10
        digest = hashlib.sha256(bytes([name]) * 4).hexdigest()
        return decode_ack.decode(intake.handle(site, encode(FilePart(RUN, digest, 4, 0, data)))).verdict

    assert [send("site-1", name) for name in range(5)] == ["stored"] * 3 + ["rejected"] * 2
    assert send("site-2", 9) == "stored"
    assert send("site-1", 7, bytes([7]) * 4) == "rejected"  # it may finish those that it has begun


def test_losses_are_listed_up_to_a_limit_and_then_together(intake: Intake, journal: Journal, clock: Clock) -> None:
    for number in range(50):
        clock.now += 10
        message = Damage(RUN, STREAM, reason=f"damage {number}", size=8)
        assert decode_ack.decode(intake.handle("site-1", encode(message))).verdict == "stored"
    gaps = journal.gaps()
    assert len(gaps) == SMALL.losses + 1
    assert "more than 5 losses" in gaps[-1].reason
