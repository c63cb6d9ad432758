"""Forgetting: a ledger's counts without a site are those of a run that never had it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.delivery.forgetting import forget_deliveries, passed_of
from fedtrack.delivery.ledger import Cursor, DeadLetter, Ledger
from fedtrack.journal.forgetting import Passed
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, Tag, encode
from support.delivering import Scripted

STREAM = "ab" * 16


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Journal, Ledger]]:
    """Two sites with two metrics and a tag each; one receiver has passed all, and has refused one of a's metrics."""
    with closing(Journal(tmp_path / "journal.db")) as journal, closing(Ledger(tmp_path / "l.db", journal)) as ledger:
        for site in ("hospital-a", "hospital-b"):
            records = [Metric(1, "loss", 0.5, 1), Metric(1, "loss", 0.25, 2), Tag(1, "who", "x")]
            salt = frames.salt_of(STREAM)
            body = b"".join(frames.frame(n, encode(record), salt) for n, record in enumerate(records, 1))
            journal.apply(site, STREAM, [frames.FrameRange(1, 3, 3, body)])
        letter = DeadLetter("r", "hospital-a", STREAM, 2, 1, "no", b"")
        ledger.advance("r", Cursor(2, 3, 2, 1), [letter], {"tag": 2})
        yield journal, ledger


def test_only_the_others_are_counted(stores: tuple[Journal, Ledger]) -> None:
    journal, ledger = stores
    own = [batch for batch in journal.read(0) if batch.site == "hospital-a"]
    passed = passed_of("hospital-a", "r", Scripted(), ledger.cursor("r"), ledger, lambda: own, 0)
    assert passed == Passed(1, {"tag": 1}, 1)
    stone = journal.forgotten.forget("hospital-a", {"r": passed}, [])
    for _ in range(2):  # a second call, after a kill, changes nothing
        forget_deliveries(ledger, "hospital-a", stone)
        assert ledger.cursor("r") == Cursor(2, 2, 1, 0)
        assert ledger.skipped("r") == {"tag": 1}
        assert ledger.dead_letters() == []


def test_what_waits_was_not_passed(stores: tuple[Journal, Ledger]) -> None:
    journal, ledger = stores
    own = [batch for batch in journal.read(0) if batch.site == "hospital-b"]
    assert passed_of("hospital-b", "r", None, Cursor(1), ledger, lambda: own, 0) == Passed()
    assert passed_of("hospital-b", "r", None, Cursor(2), ledger, lambda: own, 4) == Passed(7)
