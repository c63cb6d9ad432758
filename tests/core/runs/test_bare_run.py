"""A run in one folder: what a kill left in its spools and its journal is delivered by a replay."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fedtrack.errors import DamagedError
from fedtrack.files import write_whole
from fedtrack.journal.journal import Journal
from fedtrack.runs.bare_run import is_bare, spool_home
from fedtrack.runs.kept_receivers import RECEIVERS_FILE, NamedReceiver, keep_receivers, read_receivers
from fedtrack.runs.replay import replay
from fedtrack.runs.stored_run import StoredRun, find_run
from fedtrack.runs.workspace import RunRecord
from fedtrack.spool.identity import SpoolIdentity
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource

SITES = ("site-1", "Klinik Süd/../2")


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder of a bridge that was killed: a part is in the journal, and nothing was delivered."""
    folder = tmp_path / "fedtrack-tensorboard"
    folder.mkdir()
    keep_receivers(folder, {"receiver": NamedReceiver("tensorboard", {"tb_folder": "events"})})
    write_whole(folder / "run.json", msgspec.json.encode(RunRecord("r1", "", 1, engine="nvflare")))
    journal, forwarder = Journal(folder / "journal.db"), Forwarder()
    for site in SITES:
        spool = Spool(spool_home(folder, site) / "spool", identity=SpoolIdentity("r1", site))
        for step in range(50):
            spool.append(Metric(1, "loss", 1.0, step))
        spool.close()
    forwarder.add(SpoolSource("site-1", spool_home(folder, "site-1") / "spool", journal, BlobStore(folder / "blobs")))
    forwarder.end_all()
    forwarder.stop()
    journal.close()
    return folder


def test_a_replay_delivers_what_was_left(left: Path) -> None:
    run = find_run(left)
    assert (run, run.nodes()[1:]) == (StoredRun(left), sorted(SITES))
    done = replay(run)
    assert (done.complete, done.new) == (True, {"receiver": 100})
    assert done.journaled == dict.fromkeys(SITES, 50)
    assert list((left / "events").rglob("events.out.tfevents*"))
    assert replay(run).new == {"receiver": 0}


def test_nothing_leaves_the_folder(left: Path) -> None:
    assert {path.name for path in left.parent.iterdir()} == {left.name}
    assert all(spool_home(left, site).parent == left / "spools" for site in SITES)


def test_receivers_that_cannot_be_read_are_named(left: Path) -> None:
    (left / RECEIVERS_FILE).write_text("{")
    with pytest.raises(DamagedError, match=r"receivers\.json cannot be read: .*--receiver"):
        read_receivers(left)
    assert not is_bare(left.parent)
