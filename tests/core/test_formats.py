"""Golden files of format 1: spools and journals that it wrote are read exactly, for ever.

Nothing writes them any more; what is written now is in ``spool/test_golden.py``.
"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedtrack.journal.journal import Cursor, DeadLetter, Journal
from fedtrack.spool import frames
from fedtrack.spool.frames import FrameRange
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


def test_a_journal_of_format_1_is_read_and_written_exactly(tmp_path: Path) -> None:
    path = tmp_path / shutil.copy(JOURNAL, tmp_path)
    journal = Journal(path)
    (batch,) = journal.read(0)
    assert (batch.site, batch.stream, batch.count) == ("site-1", STREAM, len(RECORDS))
    assert _read(batch.body) == EXPECTED
    assert journal.meta("run_id") == "golden"
    assert journal.high_waters("site-1") == {STREAM: len(RECORDS) + 1}
    assert journal.counts() == {"site-1": len(RECORDS)}
    assert journal.gaps() == [("site-1", STREAM, 40, "40 damaged bytes")]
    assert journal.cursor("mlflow") == Cursor(1, 11, 2, 1)
    assert journal.dead_letters() == [DeadLetter("mlflow", 1, 3, "refused", encode(RECORDS[2]))]
    assert journal.apply("site-1", STREAM, [_run(batch.body)]) == len(RECORDS) + 1  # known already
    assert journal.last_batch() == 1
    journal.close()


@pytest.mark.parametrize("table", ["meta", "batch", "hw", "gap", "cursor", "dead"])
def test_a_new_journal_has_the_golden_tables(tmp_path: Path, table: str) -> None:
    Journal(tmp_path / "journal.db").close()
    definitions = []
    for path in (tmp_path / "journal.db", JOURNAL):
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        definitions.append(connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone())
        connection.close()
    assert definitions[0] == definitions[1] is not None


def _run(body: bytes) -> FrameRange:
    return FrameRange(1, len(RECORDS) + 1, len(RECORDS), body)
