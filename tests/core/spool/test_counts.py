"""The counts of a spool, as its pages have them."""

from pathlib import Path

from fedtrack.spool.counter_page import page_path
from fedtrack.spool.counts import read_count, read_counts
from fedtrack.spool.spool import Spool
from fedtrack.tracking.counts import Counts
from support.spooled import metric


def test_every_stream_has_its_counts_and_one_without_a_page_has_none(tmp_path: Path) -> None:
    assert read_counts(tmp_path / "nothing") == {}
    known, unknown = Spool(tmp_path), Spool(tmp_path)
    for spool in (known, unknown):
        spool.append(metric(1))
        spool.count_withheld(3)
        spool.close()
    page_path(tmp_path, unknown.stream).unlink()
    gone = "0" * 32
    assert read_counts(tmp_path, [gone]) == {known.stream: Counts(0, 3, 0), unknown.stream: None, gone: None}


def test_a_page_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(metric(1))
    page = page_path(tmp_path, spool.stream)
    page.unlink()
    page.symlink_to(tmp_path / "elsewhere")
    assert read_count(tmp_path, spool.stream) is None
