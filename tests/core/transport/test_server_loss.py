"""A server loses its journal while sites have spools: its records are reported as lost, and the others arrive."""

from __future__ import annotations

from pathlib import Path

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, decode
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import forward


def source(root: Path, journal: Journal, other: Journal | None = None) -> SpoolSource:
    return SpoolSource("site-1", root / "spool", journal, BlobStore(root / "blobs"), other=other)


def log(spool: Spool, first: int, count: int) -> None:
    for value in range(first, first + count):
        spool.append(Metric(value, "loss", float(value), value))


def steps(journal: Journal) -> list[int]:
    records = [decode(payload) for batch in journal.read(0) for _, payload in frames.split(batch.body)]
    return [record.step for record in records if isinstance(record, Metric) and record.step is not None]


def forward_all(reader: SpoolSource) -> None:
    while forward(reader):
        pass


def test_a_wiped_journal_is_a_counted_gap_and_the_rest_arrives(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=1000)
    first = Journal(tmp_path / "first.db")
    log(spool, 1, 100)
    forward_all(source(tmp_path, first))
    assert steps(first) == list(range(1, 101))
    first.close()

    log(spool, 101, 50)
    second = Journal(tmp_path / "second.db")
    for _ in range(3):  # each restart looks again, and says it once
        forward_all(source(tmp_path, second))
    kept = steps(second)
    assert kept == list(range(kept[0], 151))
    assert 1 < kept[0] <= 101  # the live segment of the time was still there
    (gap,) = second.gaps()
    assert (gap.site, gap.kind, gap.first, gap.last) == ("site-1", "missing", 1, kept[0] - 1)
    assert f"records 1 to {kept[0] - 1} of a stream" in gap.reason
    log(spool, 151, 10)
    forward_all(source(tmp_path, second))
    assert steps(second)[-1] == 160
    assert len(second.gaps()) == 1
    second.close()
    spool.close()


def test_an_older_copy_of_the_journal_is_a_gap_from_its_mark_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=1000)
    journal = Journal(tmp_path / "journal.db")
    log(spool, 1, 30)
    forward_all(source(tmp_path, journal))
    journal.close()
    copy = tmp_path / "copy.db"
    copy.write_bytes((tmp_path / "journal.db").read_bytes())
    journal = Journal(tmp_path / "journal.db")
    log(spool, 31, 100)
    forward_all(source(tmp_path, journal))
    journal.close()
    restored = Journal(copy)
    forward_all(source(tmp_path, restored))
    kept = steps(restored)
    assert kept[:30] == list(range(1, 31))
    assert f"records 31 to {kept[30] - 1} of a stream" in restored.gaps()[0].reason
    restored.close()
    spool.close()


def test_holes_between_segments_are_no_gap(tmp_path: Path) -> None:
    """Numbers that were claimed and never written, on a stream's first segment and between later ones."""
    spool = Spool(tmp_path / "spool", segment_bytes=1000)
    journal = Journal(tmp_path / "journal.db")
    spool._next_seq = 50
    for _ in range(5):
        log(spool, 1, 40)
        spool._next_seq += 7
        spool.close()  # the next record begins a segment
        forward_all(source(tmp_path, journal))
    assert len(steps(journal)) == 200
    assert journal.gaps() == []
    journal.close()


def test_no_reader_deletes_what_the_other_one_needs(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=1000)
    server, home = Journal(tmp_path / "server.db"), Journal(tmp_path / "home.db")
    log(spool, 1, 100)
    forward_all(source(tmp_path, server, other=home))
    forward_all(SpoolSource("site-1", tmp_path / "spool", home, BlobStore(tmp_path / "own"), delete=False))
    assert steps(home) == steps(server) == list(range(1, 101))
    assert home.gaps() == []
    for journal in (server, home):
        journal.close()
    spool.close()
