"""A damaged ledger: what can be read of it is kept, and a receiver whose cursor is gone begins again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack.delivery.ledger import LEDGER_FILE, Cursor, DeadLetter, Ledger
from fedtrack.delivery.ledger_rescue import owner_of
from fedtrack.journal.journal import Journal, StoredBatch

STREAM = "ab" * 16
RECEIVERS = [f"receiver-{number:03}" for number in range(300)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    opened.database.writer.execute("INSERT INTO sqlite_sequence VALUES ('batch', 1000)")
    yield opened
    opened.close()


@pytest.fixture
def path(journal: Journal, tmp_path: Path) -> Path:
    """A ledger of some pages."""
    ledger = Ledger(tmp_path / LEDGER_FILE, journal)
    for number, name in enumerate(RECEIVERS):
        letter = DeadLetter(name, "site-1", STREAM, number + 1, 3, "refused", b"payload")
        damaged = [StoredBatch(number + 1, "site-1", STREAM, 0, b"", lost=2)]
        ledger.advance(name, Cursor(number, number, 1, 1), [letter], {"text": 1}, damaged)
    ledger.settle(RECEIVERS[0], [], ledger.dead_letters(RECEIVERS[0]))
    ledger.close()
    return ledger.path


def zero(path: Path, page: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[page * 4096 : page * 4096 + 4096] = bytes(4096)
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("page", [0, 1, 5, 12, -2, -1])
def test_what_is_intact_is_kept_and_the_damaged_file_too(path: Path, journal: Journal, page: int) -> None:
    page %= path.stat().st_size // 4096
    damaged = zero(path, page)
    shown = Ledger(path, journal, read_only=True)
    seen = shown.cursors(), len(shown.dead_letters()), shown.lost_up_to(1000)
    shown.close()
    assert path.read_bytes() == damaged, "nothing is written"

    ledger = Ledger(path, journal)
    cursors = ledger.cursors()
    assert (cursors, len(ledger.dead_letters()), ledger.lost_up_to(1000)) == seen
    assert len(cursors) > 150
    assert all(
        cursors[name] == Cursor(number, number, 1, 1) for number, name in enumerate(RECEIVERS) if name in cursors
    )
    assert len(ledger.dead_letters()) > 150
    ledger.close()
    (kept,) = path.parent.glob(f"{LEDGER_FILE}.damaged-*")
    assert kept.read_bytes() == damaged
    again = Ledger(path, journal)
    assert again.cursors() == cursors
    again.close()
    assert len(list(path.parent.glob(f"{LEDGER_FILE}.damaged-*"))) == 1


def test_its_journal_is_known_also_without_the_first_page(path: Path, journal: Journal) -> None:
    zero(path, 0)
    assert owner_of(path) == journal.meta("id")
    assert owner_of(path.with_name("nothing.db")) == ""


def test_a_journal_that_is_older_than_its_ledger_is_a_loss_that_is_said_once(path: Path, journal: Journal) -> None:
    journal.database.writer.execute("UPDATE sqlite_sequence SET seq = 200 WHERE name = 'batch'")
    shown = Ledger(path, journal, read_only=True)
    reasons = [gap.reason for gap in shown.gaps(journal) if gap.count is None]
    shown.close()
    assert reasons == [
        "the journal ends at batch 200, and receivers have had batch 299: it is an older copy, or its write-ahead log "
        "was removed"
    ]
    for _ in range(2):
        ledger = Ledger(path, journal)
        said = [gap.reason for gap in ledger.gaps(journal) if gap.count is None]
        ledger.close()
        assert said == reasons
