"""Spool: when it waits for the disk, and what happens if the disk does not confirm."""

import os
import threading
import time
from pathlib import Path

import pytest

from fedtrack.spool import spool as spool_module
from fedtrack.spool.spool import Spool
from support.spooled import Put, Read, metric, values


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every fsync."""
    counted: list[int] = []
    for name in ("fdatasync", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, real=real: (counted.append(fd), real(fd))[1])
    return counted


def test_durability_process_never_waits_for_the_disk(put: Put, tmp_path: Path, syncs: list[int]) -> None:
    spool = Spool(tmp_path, segment_bytes=200)
    spool.extend([metric(1)])
    for number in range(100):
        put(spool, metric(number))
    spool.close()
    assert syncs == []


def test_durability_disk_syncs_every_call_and_every_new_name(put: Put, tmp_path: Path, syncs: list[int]) -> None:
    spool = Spool(tmp_path, durability="disk")
    put(spool, metric(0))
    assert len(syncs) == 2
    for number in range(10):
        put(spool, metric(number))
    spool.extend(metric(number) for number in range(100))
    assert len(syncs) == 2 + 11
    spool.blobs.put(b"x" * 100_000)
    assert len(syncs) == 2 + 11 + 3  # the value, its name, and that of its folder


def test_durability_host_syncs_in_the_background_also_after_close(
    put: Put, tmp_path: Path, syncs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "HOST_SYNC_SECONDS", 0.01)
    spool = Spool(tmp_path, durability="host")
    for attempt in range(2):
        put(spool, metric(attempt))
        syncer = spool._syncer
        assert syncer is not None
        before = len(syncs)
        deadline = time.monotonic() + 5
        while len(syncs) < before + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(syncs) >= before + 2
        spool.close()
        syncer.join(5)
        assert not syncer.is_alive()


def test_a_log_call_does_not_wait_for_the_background_sync(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow(fd: int) -> None:
        inside.set()
        leave.wait(10)

    spool = Spool(tmp_path)
    put(spool, metric(1))
    monkeypatch.setattr(os, "fdatasync", slow)
    thread = threading.Thread(target=spool.flush)
    thread.start()
    assert inside.wait(5)
    put(spool, metric(2))
    assert thread.is_alive()
    leave.set()
    thread.join()


def test_a_disk_that_does_not_confirm_stops_nothing_and_is_said_once(
    put: Put, tmp_path: Path, read_spool: Read, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    spool = Spool(tmp_path, durability="disk", segment_bytes=200)
    for number in range(10):
        put(spool, metric(number))
    spool.close()
    (records,) = read_spool(tmp_path).values()
    assert values(records) == list(range(10))
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_durability_host_where_no_thread_starts_any_more(
    put: Put, tmp_path: Path, syncs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refused)
    spool = Spool(tmp_path, durability="host")
    put(spool, metric(1))
    assert len(syncs) == 2
