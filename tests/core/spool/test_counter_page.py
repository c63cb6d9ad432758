"""CounterPage: what a stream counts is on the disk at once, whatever becomes of the process or of the page."""

import os
from pathlib import Path

import pytest

from fedtrack.spool.counter_page import PAGE_SIZE, CounterPage, page_bytes, page_path, read_page
from fedtrack.spool.segments import is_open
from fedtrack.spool.spool import Durability, Spool
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import Metric

STREAM = "ab" * 16


def test_what_is_stored_is_read_at_once(tmp_path: Path) -> None:
    page = CounterPage(tmp_path, STREAM, Counts(1, 0, 0))
    path = page_path(tmp_path, STREAM)
    assert read_page(path) == Counts(1, 0, 0)
    for counts in (Counts(2, 3, 4), Counts(2**40, 2**63 - 1, 255)):
        page.store(counts)
        assert read_page(path) == counts
        assert path.read_bytes() == page_bytes(STREAM, counts)
    page.close()
    assert read_page(path) == Counts(2**40, 2**63 - 1, 255)


def test_the_page_is_really_written_and_private(tmp_path: Path) -> None:
    page = CounterPage(tmp_path, STREAM, Counts())
    found = page_path(tmp_path, STREAM).stat()
    assert (found.st_size, found.st_blocks * 512 >= PAGE_SIZE, found.st_mode & 0o777) == (PAGE_SIZE, True, 0o600)
    assert [path.name for path in tmp_path.iterdir()] == [f"{STREAM}.counts"]
    page.close()


def test_it_is_locked_for_as_long_as_it_is_open_and_no_descriptor_is_left(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    page = CounterPage(tmp_path, STREAM, Counts())
    assert is_open(page_path(tmp_path, STREAM))
    page.close()
    assert not is_open(page_path(tmp_path, STREAM))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_an_interrupted_call_left_is_in_nobody_s_way(tmp_path: Path) -> None:
    page_path(tmp_path, STREAM).with_suffix(".counts.new").write_bytes(b"half")
    CounterPage(tmp_path, STREAM, Counts(5, 0, 0)).close()
    CounterPage(tmp_path, STREAM, Counts(6, 0, 0)).close()  # after a close that was followed by another call
    assert read_page(page_path(tmp_path, STREAM)) == Counts(6, 0, 0)


def test_a_damaged_page_is_none(tmp_path: Path) -> None:
    path = page_path(tmp_path, STREAM)
    assert read_page(path) is None
    whole = page_bytes(STREAM, Counts(1, 2, 3))
    for bit in range(60 * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert read_page(path) is None, bit
    for bad in (b"", whole[:87], page_bytes("cd" * 16, Counts()), whole[:64] + b"\xff" * 24 + whole[88:]):
        path.write_bytes(bad)
        assert read_page(path) is None
    path.write_bytes(whole)
    assert read_page(path) == Counts(1, 2, 3)


def test_what_a_later_version_counts_as_well_is_passed_over(tmp_path: Path) -> None:
    path = page_path(tmp_path, STREAM)
    path.write_bytes(page_bytes(STREAM, Counts(1, 2, 3))[:88] + b"\x07" * (PAGE_SIZE - 88))
    assert read_page(path) == Counts(1, 2, 3)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_no_page(tmp_path: Path, kind: str) -> None:
    path = page_path(tmp_path, STREAM)
    if kind == "link":
        (tmp_path / "other").write_bytes(page_bytes(STREAM, Counts()))
        path.symlink_to("other")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert read_page(path) is None


@pytest.mark.parametrize(("durability", "synced"), [("process", False), ("disk", True)])
def test_with_durability_disk_a_count_is_on_the_disk_when_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability, synced: bool
) -> None:
    spool = Spool(tmp_path, durability=durability)
    spool.append(Metric(1, "loss", 1.0))
    counts: list[Counts] = []
    monkeypatch.setattr(CounterPage, "sync", lambda page: counts.append(read_page(page_path(tmp_path, spool.stream))))
    monkeypatch.setattr(Spool, "_write", lambda *_: False)
    spool.append(Metric(2, "loss", 2.0))
    spool.count_withheld(3)
    assert counts == ([Counts(1, 0, 0), Counts(1, 3, 0)] if synced else [])
