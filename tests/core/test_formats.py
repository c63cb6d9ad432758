"""Golden files of format 1: spools and journals that it wrote are read exactly, for ever.

Nothing writes them any more; what is written now is in ``spool/test_golden.py``.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fedtrack.delivery.ledger import LEDGER_FILE, Cursor, DeadLetter, Ledger
from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import GapKind, Goodbye, Journal, StoredBatch, StoredGap, StoredStream
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import (
    AnyRecord,
    Artifact,
    BlobRef,
    Gap,
    Histogram,
    Image,
    Metric,
    Param,
    Rejected,
    Tag,
    Text,
    decode,
    encode,
)

DATA = Path(__file__).parents[1] / "data" / "format-1"
STREAM = "0123456789abcdef0123456789abcdef"
SPOOL = DATA / f"{STREAM}-{1:016x}.spool"
JOURNAL = DATA / "journal.db"
DATA_2 = DATA.with_name("format-2")
OTHER = "fedcba9876543210fedcba9876543210"

RECORDS: list[AnyRecord] = [
    Metric(1_700_000_000_000_000_000, "train/loss", 0.1, 3),
    Metric(1_700_000_000_000_000_001, "val accuracy, é", float("-inf")),
    Param(2, "lr", 0.001),
    Param(2, "layers", 12),
    Param(2, "nesterov", True),
    Param(2, "schedule", None),
    Tag(3, "team", "north"),
    Text(4, "notes", "first line\nsecond line", -5),
    Text(4, "notes", BlobRef("ab" * 32, 40_000)),
    Image(5, "sample", b"\x89PNG", 1, "png"),
    Histogram(6, "weights", (0.0, 0.5, 1.0), (3.0, 4.0), 2**40),
    Artifact(7, "models/best.bin", b"\0\1\2"),
    Rejected(8, "'flag'", "the value True is a bool; a metric is a number"),
    Gap(9, 17, "No space left on device (errno 28)"),
]

GAPS = [
    StoredGap("site-1", STREAM, "damaged", "40 damaged bytes", size=40),
    StoredGap("site-1", OTHER, "missing", "records 2 to 6 are in no spool", 5, 2, 6),
    StoredGap("server", "", "journal", "the journal was removed"),
]
GOODBYE = Goodbye({STREAM: 15, OTHER: 1}, 14, 3, 2, 1, "a reason", b"\x01\x02")
LETTER = DeadLetter("mlflow", "site-1", STREAM, 3, 2, "refused", encode(RECORDS[2]))


def _frames() -> bytes:
    salt = frames.salt_of(STREAM)
    # A hole after the third: a number that was claimed by a call that was interrupted.
    return b"".join(frames.frame(seq + (seq > 3), encode(r), salt) for seq, r in enumerate(RECORDS, start=1))


def _read(body: bytes) -> list[tuple[int, AnyRecord]]:
    return [(seq, decode(payload)) for seq, payload in frames.split(body)]


EXPECTED = [(seq + (seq > 3), record) for seq, record in enumerate(RECORDS, start=1)]


def test_a_spool_of_format_1_is_read_exactly(tmp_path: Path, read_spool: Callable[[Path], dict[str, Any]]) -> None:
    shutil.copy(SPOOL, tmp_path)
    assert read_spool(tmp_path) == {STREAM: EXPECTED}
    assert frames.read_header(SPOOL.read_bytes()) == frames.Header(STREAM, 1, 1_700_000_000_000_000_000)


def _check_format_1(journal: Journal, ledger: Ledger) -> None:
    """Look for what is in the golden journal of format 1, however it is opened."""
    (batch,) = journal.read(0)
    assert (batch.site, batch.stream, batch.count, batch.round) == ("site-1", STREAM, len(RECORDS), None)
    assert _read(batch.body) == EXPECTED
    assert journal.meta("run_id") == "golden"
    assert journal.high_waters("site-1") == {STREAM: len(RECORDS) + 1}
    assert journal.counts() == {"site-1": len(RECORDS)}
    assert journal.last_batch() == 1
    assert journal.gaps() == [StoredGap("site-1", STREAM, "damaged", "40 damaged bytes", size=40)]
    assert ledger.cursor("mlflow") == Cursor(1, 11, 2, 1)
    assert ledger.skipped("mlflow") == {"unknown": 2}
    assert ledger.dead_letters() == [DeadLetter("mlflow", "site-1", STREAM, 3, 1, "refused", encode(RECORDS[2]))]


def test_a_journal_of_format_1_is_read_exactly_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / shutil.copy(JOURNAL, tmp_path)
    journal = Journal(path, read_only=True)
    ledger = Ledger(tmp_path / LEDGER_FILE, journal, read_only=True)
    _check_format_1(journal, ledger)
    assert journal.database.format == 1
    with pytest.raises(WorkspaceError, match="opened for reading only"):
        journal.set_meta("run_id", "another")
    ledger.close()
    journal.close()
    assert path.read_bytes() == JOURNAL.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_journal_of_format_1_is_migrated_after_a_copy_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / shutil.copy(JOURNAL, tmp_path)
    for _ in range(2):  # what was migrated is opened again
        journal = Journal(path)
        ledger = Ledger(tmp_path / LEDGER_FILE, journal)
        _check_format_1(journal, ledger)
        assert (journal.meta("format"), journal.database.format) == ("2", 2)
        assert journal.apply("site-1", STREAM, [_run(_frames())]) == len(RECORDS) + 1  # known already
        ledger.close()
        journal.close()
    assert _dump(tmp_path / "journal.db.format-1") == _dump(JOURNAL)
    assert _tables(path) == {"meta", "batch", "stream", "gap", "goodbye", "pruned", "sqlite_sequence"}
    journal = Journal(path)
    salt = frames.salt_of(STREAM)
    journal.apply("site-1", STREAM, [FrameRange(99, 99, 1, frames.frame(99, encode(RECORDS[0]), salt), 7)])
    assert [(batch.id, batch.round) for batch in journal.read(0)] == [(1, None), (2, 7)]
    journal.close()


def test_a_journal_of_format_2_is_read_exactly(tmp_path: Path) -> None:
    for name in ("journal.db", LEDGER_FILE):
        shutil.copy(DATA_2 / name, tmp_path)
    for read_only in (True, False):
        journal = Journal(tmp_path / "journal.db", read_only=read_only)
        ledger = Ledger(tmp_path / LEDGER_FILE, journal, read_only=read_only)
        _check_format_2(journal, ledger)
        ledger.close()
        journal.close()


def _check_format_2(journal: Journal, ledger: Ledger) -> None:
    (batch,) = journal.read(0)
    assert (batch.id, batch.site, batch.stream, batch.round) == (2, "site-1", STREAM, 1)
    assert _read(batch.body) == EXPECTED
    assert batch.count == len(RECORDS) - 1  # a gap is no event
    assert journal.meta("run_id") == "golden"
    assert journal.streams() == [
        StoredStream("site-1", STREAM, len(RECORDS) + 1, len(RECORDS) - 1, 1, 15, Counts(3, 2, 1), True, None),
        StoredStream("site-1", OTHER, 1, 1, 0, 1, Counts(), False, None),
    ]
    assert journal.pruned("site-1") == 1
    assert journal.gaps() == GAPS
    assert journal.goodbyes.all()["site-1"]._replace(said_ns=None) == GOODBYE
    assert journal.goodbyes.has_everything_of("site-1")
    assert ledger.cursors() == {"mlflow": Cursor(2, 11, 2, 1)}
    assert ledger.skipped("mlflow") == {"artifact": 1, "histogram": 1}
    assert ledger.dead_letters() == [LETTER]
    assert ledger.dropped("mlflow") == [("site-1", STREAM, 5)]
    damage = "batch 1 of the journal was changed after it was written: 1 of 2 events"
    assert ledger.gaps(journal) == [*GAPS, StoredGap("site-1", OTHER, "changed", damage, 1, size=22)]


@pytest.mark.parametrize("name", ["journal.db", "delivery.db"])
def test_new_files_have_the_golden_tables(tmp_path: Path, name: str) -> None:
    journal = Journal(tmp_path / "journal.db")
    Ledger(tmp_path / LEDGER_FILE, journal).close()
    journal.close()
    assert _definitions(tmp_path / name) == _definitions(DATA_2 / name)


def _definitions(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def _dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return list(connection.iterdump())


def _tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _run(body: bytes) -> FrameRange:
    return FrameRange(1, len(RECORDS) + 1, len(RECORDS), body)


def _write() -> None:
    """Write the journal of format 2; those of format 1, and the spools, are as they are."""
    journal = Journal(DATA_2 / "journal.db")
    ledger = Ledger(DATA_2 / LEDGER_FILE, journal)
    journal.set_meta("run_id", "golden")
    early = frames.frame(1, encode(RECORDS[0]), frames.salt_of(OTHER))
    journal.apply("site-1", OTHER, [FrameRange(1, 1, 1, early, 0)])
    body = _frames()
    run = FrameRange(1, len(RECORDS) + 1, len(RECORDS), body, 1)
    journal.apply_all([("site-1", STREAM, run)], counts=[("site-1", STREAM, Counts(3, 2, 1)), ("site-1", OTHER, None)])
    for gap in GAPS:
        where = {"count": gap.count, "first": gap.first, "last": gap.last, "size": gap.size}
        journal.record_gap(gap.site, gap.stream, GapKind(gap.kind), gap.reason, **where)  # type: ignore[arg-type]
    journal.goodbyes.record("site-1", GOODBYE)
    journal.prune(1, 2**62)
    dropped = LETTER._replace(seq=5)
    damaged = StoredBatch(1, "site-1", OTHER, 1, early, 0, 1, 22)
    skipped = {"histogram": 1, "artifact": 1}
    ledger.advance("mlflow", Cursor(2, 11, 2, 1), [LETTER, dropped], skipped, [damaged])
    ledger.settle("mlflow", [], [dropped])
    ledger.close()
    journal.close()
    (DATA_2 / "delivery.lock").unlink()


if __name__ == "__main__":
    _write()
