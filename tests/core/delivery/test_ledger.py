"""Ledger: how far receivers are survives everything, has one writer, and belongs to one journal."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedtrack.delivery.ledger import LEDGER_FILE, Cursor, DeadLetter, Ledger
from fedtrack.errors import DamagedError, WorkspaceError
from fedtrack.journal.journal import Journal, StoredBatch
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
from fedtrack.tracking.records import Metric, encode

STREAM = "ab" * 16
LETTER = DeadLetter("console", "a", STREAM, 2, 1, "refused", b"payload")


def apply(journal: Journal, *seqs: int) -> None:
    salt = frames.salt_of(STREAM)
    body = b"".join(frames.frame(seq, encode(Metric(1, "loss", 0.5)), salt) for seq in seqs)
    journal.apply("a", STREAM, [FrameRange(seqs[0], seqs[-1], len(seqs), body)])


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    apply(opened, 1, 2, 3)
    yield opened
    opened.close()


@pytest.fixture
def ledger(journal: Journal, tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / LEDGER_FILE, journal)
    yield opened
    opened.close()


def test_cursors_letters_and_skipped_kinds_move_together_and_survive(ledger: Ledger, journal: Journal) -> None:
    for _ in range(2):
        ledger.advance("console", Cursor(1, 2, 0, 1), [LETTER])
    ledger.advance("other", Cursor(1, 1, 2), skipped={"text": 2})
    ledger.advance("other", Cursor(1, 1, 3), skipped={"text": 1})
    ledger.close()
    again = Ledger(ledger.path, journal)
    assert again.cursors() == {"console": Cursor(1, 2, 0, 1), "other": Cursor(1, 1, 3)}
    assert (again.cursor("nobody"), again.skipped("other"), again.skipped("console")) == (Cursor(), {"text": 3}, {})
    assert again.dead_letters() == again.dead_letters("console") == [LETTER]
    assert again.dead_letters("other") == []
    again.close()


def test_letters_are_settled_or_dropped_and_stay_counted(ledger: Ledger) -> None:
    letters = [LETTER._replace(seq=seq) for seq in (1, 2, 3)]
    ledger.advance("console", Cursor(1, 0, 0, 3), letters)
    ledger.settle("console", letters[:1], dropped=letters[1:2])
    assert ledger.cursor("console") == Cursor(1, 1, 0, 2)
    assert ledger.dead_letters() == letters[2:]
    assert ledger.dropped("console") == [("a", STREAM, 2)]
    ledger.rewind("console")
    assert (ledger.cursor("console"), ledger.dead_letters(), ledger.dropped("console")) == (Cursor(), [], [])


def test_damage_of_the_journal_is_noted_once_and_reported_with_its_gaps(ledger: Ledger, journal: Journal) -> None:
    damaged = StoredBatch(1, "a", STREAM, 2, b"", None, 1, 22)
    for receiver in ("console", "other"):
        ledger.advance(receiver, Cursor(1, 2), damaged=[damaged])
    (gap,) = ledger.gaps(journal)
    assert (gap.site, gap.kind, gap.count, gap.size, gap.reason) == ("a", "changed", 1, 22, damaged.damage)
    assert (journal.gaps(), ledger.lost_up_to(0), ledger.lost_up_to(1)) == ([], {}, {"a": 1})


def test_the_files_are_private(ledger: Ledger) -> None:
    paths = [path for path in ledger.path.parent.iterdir() if path.name.startswith("delivery")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}


HOLD = """
import sys
from pathlib import Path
from fedtrack.delivery.ledger import Ledger
from fedtrack.journal.journal import Journal
folder = Path(sys.argv[1])
ledger = Ledger(folder / "delivery.db", Journal(folder / "journal.db"))
print("held", flush=True)
sys.stdin.read()
"""


def test_one_process_writes_it_and_a_killed_one_leaves_no_lock(journal: Journal, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceError, match=f"the process {holder.pid} delivers from this journal"):
            Ledger(tmp_path / LEDGER_FILE, journal)
        reading = Ledger(tmp_path / LEDGER_FILE, journal, read_only=True)  # looking does no harm
        assert reading.cursors() == {}
        reading.close()
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    Ledger(tmp_path / LEDGER_FILE, journal).close()


def test_a_ledger_of_another_journal_is_put_aside_and_skips_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """As after somebody deleted the journal: its successor has other events under the same ids."""
    ledger.advance("console", Cursor(1, 2, 0, 1), [LETTER])
    ledger.close()
    (tmp_path / "journal.db").rename(tmp_path / "lost.db")
    fresh = Journal(tmp_path / "journal.db")
    for read_only in (True, False):
        found = Ledger(tmp_path / LEDGER_FILE, fresh, read_only=read_only)
        assert (found.cursors(), found.dead_letters()) == ({}, [])
        found.close()
    fresh.close()
    (kept,) = tmp_path.glob("delivery.db.earlier-*")
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM dead").fetchone() == (1,)


def test_an_older_copy_of_the_journal_is_delivered_from_its_end_on(journal: Journal, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(copy)) as target:
        journal.database.reader().backup(target)
    apply(journal, 4)
    ledger = Ledger(tmp_path / LEDGER_FILE, journal)
    ledger.advance("console", Cursor(2, 4))
    ledger.close()
    journal.close()
    shutil.copy(copy, tmp_path / "journal.db")
    restored = Journal(tmp_path / "journal.db")
    again = Ledger(tmp_path / LEDGER_FILE, restored)
    assert again.cursor("console").batch == 1
    again.close()
    restored.close()


def test_pruning_is_no_older_copy(journal: Journal, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / LEDGER_FILE, journal)
    ledger.advance("console", Cursor(1, 3))
    ledger.close()
    assert journal.prune(1, 2**62) == 3
    again = Ledger(tmp_path / LEDGER_FILE, journal)
    assert again.cursor("console") == Cursor(1, 3)
    again.close()


def test_a_newer_format_is_refused_and_left_alone(ledger: Ledger, journal: Journal) -> None:
    ledger.database.set_meta("format", "2")
    ledger.close()
    before = ledger.path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(DamagedError, match="has format 2, this version of fedtrack reads up to 1; upgrade it"):
            Ledger(ledger.path, journal, read_only=read_only)
    assert ledger.path.read_bytes() == before


def test_a_full_disk_moves_nothing(ledger: Ledger) -> None:
    ledger.advance("console", Cursor(1, 3))
    pages = ledger.database.writer.execute("PRAGMA page_count").fetchone()[0]
    ledger.database.writer.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(WorkspaceError, match="the ledger of deliveries cannot be written: database or disk is full"):
        ledger.advance("console", Cursor(2, 4), [LETTER._replace(error="x" * 100_000)])
    assert (ledger.cursor("console"), ledger.dead_letters()) == (Cursor(1, 3), [])


@pytest.mark.parametrize("content", [b"", b"empty"])
def test_what_a_process_that_was_killed_while_it_began_has_left_is_no_hindrance(
    journal: Journal, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / LEDGER_FILE
    path.write_bytes(b"")
    if content:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    reading = Ledger(path, journal, read_only=True)
    assert reading.cursors() == {}
    reading.close()
    Ledger(path, journal).close()
