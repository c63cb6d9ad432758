"""Forgetting: no byte of a site stays in the journal's files, and its tombstone does."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from fedtrack.journal.forgetting import Passed
from fedtrack.journal.journal import GapKind, Goodbye, Journal
from fedtrack.spool import frames
from fedtrack.tracking.records import Tag, encode

STREAMS = {"hospital-a": "ab" * 16, "hospital-b": "cd" * 16}


def filled(path: Path) -> Journal:
    journal = Journal(path)
    for site, stream in STREAMS.items():
        body = frames.frame(1, encode(Tag(1, "who", f"a patient of {site}")), frames.salt_of(stream))
        journal.apply(site, stream, [frames.FrameRange(1, 1, 1, body)])
        journal.record_gap(site, stream, GapKind.DAMAGED, f"a loss of {site}", count=1)
        journal.goodbyes.record(site, Goodbye({stream: 1}, 1, error=f"an error of {site}"))
    return journal


def test_nothing_of_the_site_is_in_the_files(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(filled(path)) as journal:
        journal.forgotten.forget("hospital-a", {}, [])
        held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"of hospital-a" not in held
        assert b"a patient of hospital-b" in held
        assert journal.counts() == {"hospital-b": 1}
        assert [gap.site for gap in journal.gaps()] == ["hospital-b"]
        assert list(journal.goodbyes.all()) == ["hospital-b"]
        assert journal.high_waters("hospital-a") == {}


def test_the_tombstone_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(filled(path)) as journal:
        stone = journal.forgotten.forget("hospital-a", {"mlflow": Passed(1, {"text": 2}, 3)}, ["ab" * 32])
    with closing(Journal(path)) as journal:
        assert journal.forgotten.all() == {"hospital-a": stone}
        assert (stone.events, stone.receivers["mlflow"].dead) == (1, 3)
        journal.forgotten.end("hospital-a", stone)
    with closing(Journal(path, read_only=True)) as journal:
        assert journal.forgotten.all()["hospital-a"].blobs == []
