"""The fast path into the spool if there is no room, if the disk fails, or if a call must wait for the disk."""

import fcntl
import os
import resource
import threading
from pathlib import Path

import pytest

from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Gap, Metric
from fedtrack.tracking.writer import Writer
from support.spooled import Read, compiled, metric, opened, values


def test_where_the_disk_is_waited_for_nothing_is_plain(tmp_path: Path) -> None:
    spool = opened(tmp_path, durability="disk")
    assert not spool.append_metric("k", 1.0, 1)
    assert not spool.append_metrics({"k": 1.0}, 1, None)


def test_where_a_thread_waits_for_the_disk_calls_need_not(tmp_path: Path, read_spool: Read) -> None:
    spool = opened(tmp_path, durability="host")
    assert spool.append_metric("k", 1.0, 1)
    spool.close()
    assert not spool.append_metric("k", 2.0, 1)  # its thread has ended
    (records,) = read_spool(tmp_path).values()
    assert values(records) == [0, 1]


def test_where_no_thread_can_wait_for_the_disk_calls_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refused)
    spool = opened(tmp_path, durability="host")
    assert not spool.append_metric("k", 1.0, 1)


def test_a_closed_spool_and_one_that_is_being_written_are_left_alone(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path)
    assert not spool.append_metric("k", 1.0, 1)  # no segment yet
    spool.append(metric(1))
    spool._writing = True  # as in a signal handler inside another call
    assert not spool.append_metric("k", 2.0, 1)
    assert not spool.append_metrics({"k": 2.0}, 1, None)
    spool._writing = False
    spool.close()
    assert not spool.append_metric("k", 3.0, 1)
    (records,) = read_spool(tmp_path).values()
    assert values(records) == [1]


def test_a_short_write_is_taken_back_before_anything_follows(tmp_path: Path, read_spool: Read) -> None:
    """In a loop over every position at which the disk can be full in a frame."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = opened(tmp_path)
    (path,) = tmp_path.glob("*.spool")
    for number in range(60):
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + number % 44, before[1]))
        try:
            stored = spool.append_metric("loss", float(number), 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not stored
        assert path.stat().st_size == size == spool._segment_size
        assert spool.append_metric("loss", float(number), 1)
    (records,) = read_spool(tmp_path).values()
    assert values(records[1:]) == list(range(60))
    assert spool.stored == 61


@compiled
def test_a_part_of_a_frame_that_cannot_be_taken_back_ends_the_segment(tmp_path: Path, read_spool: Read) -> None:
    spool = opened(tmp_path)
    kept = os.dup(spool._fd)
    # A file that can grow, and not shrink.
    sealed = os.memfd_create("sealed", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(sealed, b"x" * spool._segment_size)
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    os.dup2(sealed, spool._fd, inheritable=False)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool._segment_size + 20, before[1]))
    try:
        assert not spool.append_metric("loss", 1.0, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert spool._torn
    assert os.fstat(sealed).st_size == spool._segment_size + 20
    assert not spool.append_metric("loss", 1.0, 1)  # the disk has room again, but this segment is at its end
    spool.append(metric(1))
    assert spool.append_metric("loss", 2.0, 1)
    assert not spool._torn
    os.close(kept)
    os.close(sealed)
    (records,) = read_spool(tmp_path).values()
    assert values(records) == [0, 1, 2]


def test_a_write_that_fails_is_left_to_the_long_way_which_counts_it(tmp_path: Path, read_spool: Read) -> None:
    spool = opened(tmp_path)
    kept = os.dup(spool._fd)
    with Path(os.devnull).open("rb") as unwritable:
        os.dup2(unwritable.fileno(), spool._fd, inheritable=False)
        assert not spool.append_metric("loss", 1.0, 1)
    os.dup2(kept, spool._fd, inheritable=False)
    os.close(kept)
    assert spool.append_metric("loss", 2.0, 1)
    (records,) = read_spool(tmp_path).values()
    assert (values(records), spool.stored) == ([0, 2], 2)


def test_at_the_limit_the_long_way_drops_and_counts(tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, limit_bytes=128 * 1024)
    writer = Writer(spool)
    for number in range(5_000):
        writer.record_metric("loss", float(number), number)
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert len([record for _, record in records if isinstance(record, Metric)]) == 5_000 - spool.dropped
    assert sum(record.count for _, record in records if isinstance(record, Gap)) == spool.dropped > 0
