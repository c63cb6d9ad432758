"""The forwarder's thread: records are read while sites log, and once more when the thread stops."""

import threading
import time
from pathlib import Path

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.spool.segments import list_streams
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import Site, forward, raiser, stored, until


def test_sites_are_forwarded_while_they_log(tmp_path: Path, journal: Journal) -> None:
    sites = [Site(tmp_path, journal, name) for name in ("a", "b", "c")]
    forwarder = Forwarder(poll_seconds=0.005)
    for site in sites:
        forwarder.add(site.source)
    forwarder.start()
    threads = [threading.Thread(target=site.log, args=range(500)) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for site in sites:
        site.spool.close()
        forwarder.end(site.name)
    forwarder.stop()
    for site in sites:
        assert stored(journal, site.name) == list(range(500))
        assert site.segments() == []
    assert forwarder.errors == {}


def test_a_site_that_fails_delays_no_other_and_is_said_once(
    tmp_path: Path, journal: Journal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = Site(tmp_path, journal, "a"), Site(tmp_path, journal, "b")
    bad.log(1)
    real = bad.source.read
    monkeypatch.setattr(bad.source, "read", raiser(ValueError("a fault of ours")))
    forwarder = Forwarder(poll_seconds=0.001)
    forwarder.add(bad.source)
    forwarder.add(good.source)
    forwarder.start()
    until(lambda: bool(forwarder.errors))
    good.log(*range(100))
    until(lambda: len(stored(journal, "b")) == 100)
    assert forwarder.errors == {"a": "a fault of ours"}
    time.sleep(0.02)
    monkeypatch.setattr(bad.source, "read", real)
    until(lambda: stored(journal, "a") == [1])
    forwarder.stop()
    assert forwarder.errors == {}
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_stop_waits_for_a_disk_that_has_room_again_but_not_for_ever(
    site: Site, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.log(*range(10))
    forwarder = Forwarder(poll_seconds=0.01)
    forwarder.add(site.source)
    real = journal.apply_all
    monkeypatch.setattr(journal, "apply_all", raiser(WorkspaceError("the disk is full")))
    started = time.monotonic()
    forwarder.stop(patience_seconds=0.1)
    assert 0.1 <= time.monotonic() - started < 2
    assert forwarder.errors == {"a": "the disk is full"}
    timer = threading.Timer(0.1, lambda: monkeypatch.setattr(journal, "apply_all", real))
    timer.start()
    forwarder.stop(patience_seconds=10)
    timer.join()
    assert forwarder.errors == {}
    assert stored(journal) == list(range(10))


def test_stop_brings_in_a_backlog_of_many_passes(site: Site, journal: Journal) -> None:
    site.spool = Spool(site.folder)
    for start in range(0, 300_000, 10_000):
        site.spool.extend(Metric(1, "loss", float(value)) for value in range(start, start + 10_000))
    assert sum(path.stat().st_size for path in site.segments()) > 8 * 1024 * 1024
    forwarder = Forwarder()
    forwarder.add(site.source)
    forwarder.stop()
    assert journal.counts() == {"a": 300_000}


def test_a_folder_that_does_not_exist_yet_is_no_error(tmp_path: Path, journal: Journal) -> None:
    source = SpoolSource("a", tmp_path / "later", journal, BlobStore(tmp_path / "b"))
    assert not forward(source)
    assert list_streams(tmp_path / "later") == {}
