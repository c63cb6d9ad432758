"""A node whose receivers are fed by real deliverers, and the plugin that misbehaves in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedtrack import plugins
from fedtrack.delivery.deliverer.supervisor import Supervisor
from fedtrack.delivery.host import ReceiverHost
from fedtrack.delivery.report import ReceiverTally
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric
from fedtrack.transport.spool_source import SpoolSource


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the plugin in misbehaving.py, for this process and for those that it starts."""
    site = tmp_path / "site"
    info = site / "fedtrack_lines-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "lines_plugin.py").write_text((Path(__file__).parent / "misbehaving.py").read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fedtrack-lines\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedtrack]\nlines = lines_plugin\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    plugins.unload()
    yield
    sys.modules.pop("lines_plugin", None)
    plugins.unload()


class Node:
    """A node with a healthy receiver and others, and a site that logs numbers.

    Args:
        folder: For everything.
        faults: The options of each other receiver, by its id.
    """

    def __init__(self, folder: Path, **faults: dict[str, Any]) -> None:
        self.folder = folder / "run"
        self.folder.mkdir(exist_ok=True)
        self.faults = {"healthy": {}, **faults}
        self.supervisor = Supervisor()
        self.host = self.make_host()
        self.next = 0

    def make_host(self) -> ReceiverHost:
        blobs = BlobStore(self.folder / "blobs")
        receivers = {id_: self.receiver(id_) for id_ in self.faults}
        run = RunInfo("r1", "job", self.folder, "server", ("site-1",), 0, blobs)
        host = ReceiverHost(run, receivers, self.supervisor)
        host.add_source(SpoolSource("site-1", self.folder / "spool", host.journal, blobs))
        return host

    def receiver(self, id_: str) -> Receiver:
        return plugins.registry().receiver("lines")(file=str(self.folder / id_), **self.faults[id_])

    def log(self, count: int) -> None:
        spool = Spool(self.folder / "spool")
        spool.extend(Metric(1, "loss", float(value)) for value in range(self.next, self.next + count))
        spool.close()
        self.next += count

    def got(self, id_: str) -> list[float]:
        """Return what a receiver has written, as its file says."""
        path = self.folder / id_
        return [float(line) for line in path.read_text().splitlines()] if path.exists() else []

    def calls(self, id_: str) -> int:
        """Return how often a receiver has misbehaved."""
        path = self.folder / f"{id_}.calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def finish(self, stall_seconds: float = 20.0, **options: float) -> dict[str, ReceiverTally]:
        """Deliver the rest, close everything, and return the reports."""
        reports = {report.id: report for report in self.host.finish("completed", stall_seconds, **options)}
        self.host.close()
        return reports
