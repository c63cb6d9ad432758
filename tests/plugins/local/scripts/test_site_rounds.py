"""In which round a site's records are: that of the model that its script, or its function, was given last."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack.client.client_app import ClientApp, SiteContext
from fedtrack.client.fl_model import FLModel
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.identity import SpoolIdentity, read_identity
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.spool.shared import SharedSpool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, decode
from fedtrack.tracking.writer import Writer, bind
from fedtrack.transport.shared_source import SharedSource
from fedtrack_local.processes.joining import Joined
from fedtrack_local.processes.messages import RunSites, SendTask, SiteSpec, WorkerSpec, encode
from fedtrack_local.processes.parcels import ParcelConnection
from fedtrack_local.scripts.site_backend import SiteBackend
from fedtrack_local.scripts.site_channel import SiteChannel
from fedtrack_local.workers.worker import Worker

Round = int | None


@pytest.fixture(autouse=True)
def unbound() -> Iterator[None]:
    yield
    bind(None)


def metrics(run: frames.FrameRange) -> list[tuple[Round, float]]:
    records = [decode(payload) for _, payload in frames.split(run.body)]
    return [(run.round, record.value) for record in records if isinstance(record, Metric)]


def test_a_script_logs_in_the_round_of_the_model_that_it_received(tmp_path: Path) -> None:
    spec = SiteSpec(
        name="site-1",
        run_id="run-1",
        script="",
        args=[],
        custom="",
        spool=str(tmp_path / "spool"),
        exchange=str(tmp_path),
        log="",
        framework="numpy",
        external=[],
        environment={},
        threads=1,
        config={},
    )
    ours, theirs = ParcelConnection.pair()
    channel = SiteChannel(spec, os.dup(theirs.fileno()))
    ours.send_bytes(encode(Joined()))
    backend = SiteBackend(spec, channel)
    writer = Writer(backend.spool)
    writer.record_metric("loss", -1.0, 0)  # before the first model
    for number, round_ in enumerate((0, 1, None, 2)):
        ours.send_bytes(encode(SendTask(number, "train", False, 0, round_, 3, {})))
        assert backend.receive() is not None
        for _ in range(2):
            writer.record_metric("loss", float(number), 0)
        backend.send(FLModel())
    for end in (ours, theirs, channel):
        end.close()
    ((stream, segments),) = list_streams(tmp_path / "spool").items()
    found: list[tuple[Round, float]] = []
    for part in SpoolReader(stream).read(segments, ended=False):
        assert isinstance(part, frames.FrameRange)
        found += metrics(part)
    assert found == [(None, -1), (0, 0), (0, 0), (1, 1), (1, 1), (None, 2), (None, 2), (2, 3), (2, 3)]
    channel.close()
    assert read_identity(tmp_path / "spool") == SpoolIdentity("run-1", "site-1")


def test_a_function_logs_in_the_round_of_its_task(tmp_path: Path) -> None:
    app = ClientApp()

    @app.train
    def train(model: FLModel, site: SiteContext) -> FLModel:
        writer.record_metric("loss", float(model.current_round or 0), 0)
        return FLModel(params=model.params, metrics={})

    @app.evaluate
    def evaluate(model: FLModel, site: SiteContext) -> FLModel:
        writer.record_metric("loss", -1.0, 0)
        return FLModel(metrics={"loss": 1.0})

    spec = WorkerSpec(
        name="@worker-1",
        run_id="run-1",
        script="",
        app="app",
        args={},
        custom="",
        spool=str(tmp_path / "spool"),
        states=str(tmp_path / "states"),
        position=str(tmp_path / "position"),
        log="",
        framework="numpy",
        environment={},
        threads=1,
        total_sites=2,
        durability="process",
        spool_limit=2**20,
    )
    (tmp_path / "states").mkdir()
    spool = SharedSpool(tmp_path / "spool")
    writer = Writer(spool)
    worker = Worker(spec, app, spool)
    sites = [("site-1", 0), ("site-2", 1)]
    logged = []
    for number, (name, round_) in enumerate((("train", 0), ("train", 1), ("validate", None))):
        done = worker.work(RunSites(number, 0, name, "", str(tmp_path / "partial"), sites, round_, 2, {}))
        assert not any(result.error for result in done.results)
        logged.append(done.logged)
    assert logged == [{"site-1": 1, "site-2": 1}] * 3  # marks are none of their calls
    journal = Journal(tmp_path / "journal.db")
    source = SharedSource("@worker-1", spool.folder, journal, BlobStore(tmp_path / "b"), ["site-1", "site-2"])
    (stream,) = source.begin()
    source.read(stream)
    journal.close()
    for site in ("site-1", "site-2"):
        found = [one for name, _, run in stream.portion.batches if name == site for one in metrics(run)]
        assert found == [(0, 0), (1, 1), (None, -1)]
