"""Spool on a full disk, and at its own limit."""

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedtrack.spool import frames
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.spool.spool import RESERVE_BYTES, Spool, SpoolFull
from fedtrack.tracking.records import Gap, Rejected, decode
from support.spooled import Put, Read, gaps, metric, values


@pytest.fixture
def full_disk() -> Iterator[Callable[[int | None], None]]:
    """Return what limits the size of this process's files in bytes: a full disk that needs no root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))

    yield limit
    limit(None)


@pytest.mark.parametrize("size", [100_000, 100_001, 100_050])
def test_on_a_full_disk_what_is_accepted_is_readable_and_the_rest_is_counted(
    put: Put, tmp_path: Path, read_spool: Read, full_disk: Callable[[int | None], None], size: int
) -> None:
    spool = Spool(tmp_path)
    full_disk(size)
    for number in range(5_000):
        put(spool, metric(number))
    full_disk(None)
    assert spool.dropped > 1_000
    for number in range(5_000, 5_010):
        put(spool, metric(number))
    spool.close()
    (records,) = read_spool(tmp_path).values()
    kept = 5_000 - spool.dropped
    assert values(records) == [*range(kept), *range(5_000, 5_010)]
    assert sum(gaps(records)) == spool.dropped
    assert spool.stored == len(values(records))
    reasons = {record.reason for _, record in records if isinstance(record, Gap)}
    assert reasons <= {"File too large (errno 27)", "No space left on device (errno 28)"}


def test_extend_on_a_full_disk_stores_all_of_a_write_or_nothing(
    tmp_path: Path, read_spool: Read, full_disk: Callable[[int | None], None]
) -> None:
    spool = Spool(tmp_path)
    full_disk(10_000)
    spool.extend(metric(number) for number in range(1_000))
    spool.extend(metric(number) for number in range(100))
    full_disk(None)
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert values(records) == list(range(100))
    assert sum(gaps(records)) == spool.dropped == 1_000


def test_a_disk_that_is_full_from_the_start_stops_nothing(
    put: Put, tmp_path: Path, read_spool: Read, full_disk: Callable[[int | None], None]
) -> None:
    spool = Spool(tmp_path)
    full_disk(10)
    for number in range(100):
        put(spool, metric(number))
    assert list(tmp_path.iterdir()) == []
    full_disk(None)
    put(spool, metric(100))
    (records,) = read_spool(tmp_path).values()
    assert (values(records), gaps(records)) == ([100], [100])


def test_a_torn_frame_that_cannot_be_taken_back_spoils_nothing_else(
    put: Put, tmp_path: Path, full_disk: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    spool = Spool(tmp_path)
    put(spool, metric(1))
    monkeypatch.setattr(os, "ftruncate", broken)
    full_disk(100)
    put(spool, metric(2))
    full_disk(None)
    put(spool, metric(3))
    ((_, segments),) = list_streams(tmp_path).items()
    for segment in segments:
        data = segment.path.read_bytes()[frames.HEADER_SIZE :]
        scanned = frames.scan(data, frames.salt_of(spool.stream), previous=0, after_seq=0, final=True)
        assert all(isinstance(part, frames.FrameRange) for part in scanned.parts[:-1]), (
            "a frame follows the part of another"
        )
    parts = list(SpoolReader(spool.stream).read(segments, ended=True))
    bodies = [frames.split(part.body) for part in parts if isinstance(part, frames.FrameRange)]
    records = [(seq, decode(payload)) for body in bodies for seq, payload in body]
    # Its record is tried again in a file of its own, for which there is room, or counted.
    assert (values(records), gaps(records)) in (([1, 2, 3], []), ([1, 3], [1]))
    assert spool.stored == len(values(records))


def test_the_limit_drops_counts_and_resumes_when_the_server_has_deleted(
    put: Put, tmp_path: Path, read_spool: Read
) -> None:
    spool = Spool(tmp_path, segment_bytes=2**30, limit_bytes=256 * 1024)
    for number in range(10_000):
        put(spool, metric(number))
    size = sum(path.stat().st_size for path in tmp_path.glob("*.spool"))
    assert 256 * 1024 - RESERVE_BYTES <= size + 60 <= 256 * 1024
    dropped = spool.dropped
    (before,) = read_spool(tmp_path).values()
    # Not yet killed, it has already said that records are missing, and at least half of how many.
    assert dropped / 2 <= sum(gaps(before)) <= dropped
    assert len(values(before)) == 10_000 - dropped
    (segments,) = list_streams(tmp_path).values()
    for segment in segments[:-1]:
        segment.path.unlink()
    time.sleep(0.06)
    put(spool, metric(10_000))
    (after,) = read_spool(tmp_path).values()
    assert spool.dropped == dropped
    assert values(after)[-1] == 10_000
    both = dict(before) | dict(after)
    assert sum(gaps(list(both.items()))) == dropped
    assert "limit of 262144 bytes" in after[-1][1].reason


def test_a_full_spool_does_not_list_its_folder_for_each_call(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, limit_bytes=128 * 1024)
    listed: list[int] = []
    real = Spool._bytes_on_disk
    monkeypatch.setattr(Spool, "_bytes_on_disk", lambda self: (listed.append(1), real(self))[1])
    started = time.monotonic()
    for number in range(20_000):
        put(spool, metric(number))
    assert spool.dropped > 10_000
    assert len(listed) <= 1 + (time.monotonic() - started) / 0.05


def test_close_reports_what_was_dropped_from_the_reserve(put: Put, tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, limit_bytes=128 * 1024)
    for number in range(5_000):
        put(spool, metric(number))
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert sum(gaps(records)) == spool.dropped > 0
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) <= 128 * 1024


def test_on_full_raise_says_so_and_counts(put: Put, tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, limit_bytes=128 * 1024, on_full="raise")
    raised = 0
    for number in range(3_000):
        try:
            put(spool, metric(number))
        except SpoolFull:
            raised += 1
    assert raised == spool.dropped > 0
    with pytest.raises(SpoolFull, match="free some space"):
        spool.extend(metric(number, "k" * 1000) for number in range(1_000))
    assert spool.dropped == raised + 1_000  # the chunks after the first that failed are counted too
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert sum(gaps(records)) == spool.dropped


def test_on_full_block_waits_until_there_is_room(put: Put, tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path, limit_bytes=128 * 1024, on_full="block")
    done = threading.Event()

    def work() -> None:
        for number in range(2_000):
            put(spool, metric(number))
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not done.wait(0.2)
    kept: dict[int, Any] = {}
    while not done.wait(0.02):
        (segments,) = list_streams(tmp_path).values()
        (records,) = read_spool(tmp_path).values()
        kept |= records
        for segment in segments[:-1]:
            segment.path.unlink()
    thread.join()
    (records,) = read_spool(tmp_path).values()
    assert values(sorted((kept | dict(records)).items())) == list(range(2_000))
    assert spool.dropped == 0


@pytest.mark.parametrize("together", [False, True])
def test_a_rejected_call_that_finds_no_room_is_dropped_and_nothing_else(tmp_path: Path, together: bool) -> None:
    spool = Spool(tmp_path, limit_bytes=2 * RESERVE_BYTES)
    refused = Rejected(1, "key", "no number" * 20)
    for _ in range(1_000):
        if together:
            spool.extend([refused, refused])
        else:
            spool.append(refused)
            spool.append(refused)
    assert spool.dropped > 1_000
    assert spool.counts.rejected == spool.stored == 2_000 - spool.dropped
