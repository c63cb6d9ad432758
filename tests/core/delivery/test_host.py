"""ReceiverHost: the records of a run's last seconds, and of a run that a second server takes over."""

import threading
import time
from pathlib import Path

import pytest

from fedtrack.delivery.host import ReceiverHost
from fedtrack.delivery.in_process import InProcess
from fedtrack.errors import WorkspaceError
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric
from fedtrack.transport.spool_source import SpoolSource


class Listed(Receiver):
    """Keeps values in a list, and hangs in its first call as long as the event is not set."""

    name = "listed"
    summary = "A double."
    supports = frozenset({Metric})

    def __init__(self, release: threading.Event | None = None) -> None:
        super().__init__()
        self.release = release
        self.got: list[float] = []

    def open(self, run: RunInfo) -> None:
        pass

    def receive(self, batch: Batch) -> None:
        if self.release is not None:
            self.release.wait(60)
        self.got += [record.value for record in batch.records if isinstance(record, Metric)]


def make_host(folder: Path, **receivers: Receiver) -> ReceiverHost:
    blobs = BlobStore(folder / "blobs")
    host = ReceiverHost(RunInfo("r1", "job", folder, "server", ("site-1",), 0, blobs), receivers, InProcess())
    host.add_source(SpoolSource("site-1", folder / "spool", host.journal, blobs))
    return host


def log(folder: Path, count: int) -> None:
    spool = Spool(folder / "spool")
    spool.extend(Metric(1, "loss", float(value)) for value in range(count))
    spool.close()


def test_stalled_receivers_are_waited_for_once_and_named(tmp_path: Path) -> None:
    release = threading.Event()
    healthy = Listed()
    host = make_host(tmp_path, a=Listed(release), b=Listed(release), healthy=healthy)
    host.start()
    log(tmp_path, 100)
    started = time.monotonic()
    reports = {report.id: report for report in host.finish("completed", stall_seconds=0.5)}
    assert time.monotonic() - started < 0.5 + 2 * 2.0 + 1.5
    assert [reports[name].pending for name in ("a", "b", "healthy")] == [100, 100, 0]
    assert healthy.got == list(range(100))
    release.set()
    host.close()


def test_a_second_server_delivers_what_the_first_left_in_spools_and_journal(tmp_path: Path) -> None:
    release = threading.Event()
    first = make_host(tmp_path, a=Listed(release))
    log(tmp_path, 50)
    first.finish("failed", 0.0)
    first.close()
    log(tmp_path, 30)
    receiver = Listed()
    second = make_host(tmp_path, a=receiver)
    second.start()
    (report,) = second.finish("completed", 10)
    assert (report.delivered, report.pending) == (80, 0)
    assert receiver.got == [*range(50), *range(30)]
    second.close()


def test_what_could_not_be_brought_in_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise WorkspaceError("the disk is full")

    host = make_host(tmp_path)
    log(tmp_path, 10)
    monkeypatch.setattr(host.journal, "apply_all", full)
    host.forwarder.stop(patience_seconds=0.0)
    assert host.forwarder.errors == {"site-1": "the disk is full"}
    assert list((tmp_path / "spool").glob("*.spool"))
    host.close()


def test_a_second_host_is_refused_and_what_is_damaged_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedtrack.delivery.host._ORPHAN_SECONDS", 0.2)
    host = make_host(tmp_path, a=Listed())
    with pytest.raises(WorkspaceError, match="delivers from this journal; wait for it"):
        make_host(tmp_path, a=Listed())
    log(tmp_path, 3)
    host.forwarder.end("site-1")
    host.forwarder.stop()
    (batch,) = host.journal.read(0)
    body = bytes([*batch.body[:-1], batch.body[-1] ^ 1])
    host.journal.database.writer.execute("UPDATE batch SET body = ?", (body,))
    host.start()
    (report,) = host.finish("completed", 10)
    (gap,) = host.gaps()
    assert (report.delivered, report.pending, report.lost, gap.kind, gap.count) == (2, 0, 1, "changed", 1)
    assert host.journal.gaps() == []  # nobody but the forwarder writes it
    host.close()
