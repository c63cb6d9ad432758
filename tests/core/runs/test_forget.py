"""Forget: nothing that a site logged is left in any file of the run, and every count says so."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("tensorboard")
pytest.importorskip("uvicorn")

from fedtrack import connect
from fedtrack.collector.collected_run import CollectedRun
from fedtrack.connection.run_folder import RunFolder
from fedtrack.errors import ConfigError, WorkspaceError
from fedtrack.journal.forgetting import Forgetting
from fedtrack.journal.journal import Journal
from fedtrack.runs import forget as module
from fedtrack.runs.forget import forget
from fedtrack.runs.kept_receivers import NamedReceiver
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.verify import verify
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.records import Metric, TaskRecord, encode
from fedtrack.tracking.writer import Writer
from fedtrack.transport.intake import Intake
from fedtrack.transport.wire import Bye, Frames, Hello, decode_ack
from fedtrack.transport.wire import encode as message_of

NAME = "the patient's name"
COMMON = "what both sites know " * 3000
RECEIVERS = {"tensorboard": NamedReceiver("tensorboard")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two sites, delivered to TensorBoard, with values that are kept in files."""
    folder = tmp_path_factory.mktemp("collected")
    for site in ("hospital-a", "hospital-b"):
        with connect(folder, site=site, run="study-7") as run:
            for step in range(30):
                run.log({"loss": step / 8}, step=step)
            writer = Writer()
            writer.record_text("common", COMMON, 1)
            if site == "hospital-a":
                run.log_params({"who": NAME})
                writer.record_text("notes", NAME * 3000, 1)
    run_folder = RunFolder(folder, "study-7")
    collected = CollectedRun(run_folder, RECEIVERS)
    collected.look()
    assert not collected.close("completed").waiting
    return run_folder.base


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Iterator[StoredRun]:
    shutil.copytree(made, tmp_path / "study-7")
    return StoredRun(tmp_path / "study-7")


def traces(run: StoredRun) -> list[str]:
    """Return the files of the run, without those of the backend, in which the secret or the site's name is."""
    found = []
    for path in run.base.rglob("*"):
        if path.is_file() and "tb_events" not in path.parts:
            data = path.read_bytes()
            if NAME.encode() in data or (b"hospital-a" in data and path.name not in ("journal.db", "delivery.db")):
                found.append(str(path.relative_to(run.base)))
    return found


@pytest.mark.slow
def test_nothing_of_the_site_is_left_and_every_count_says_so(run: StoredRun) -> None:
    before = tally_of(run)
    assert before.complete
    (run.folder / "view.db").write_text(f"what a page keeps of hospital-a: {NAME}")
    assert len(traces(run)) > 3
    found = forget(run, "hospital-a")
    assert found.events == before.sites["hospital-a"].journaled == 33
    assert traces(run) == []
    assert not (run.base / "hospital-a").exists()
    (held,) = [text for text in found.left if "tensorboard" in text]
    assert "tb_events" in held
    after = tally_of(run)
    assert after.forgotten == {"hospital-a": 33}
    assert after.sites["hospital-b"] == before.sites["hospital-b"]
    assert list(after.sites) == ["hospital-b", "server"]
    assert any("values across the sites" in text for text in found.left)
    one = after.receivers["tensorboard"]
    assert one.addressed == one.delivered + one.not_supported + one.dead + one.pending
    assert one.addressed == 31 + after.sites["server"].journaled
    assert after.complete
    checks = verify(run)
    assert [check for check in checks if check.problem] == []
    assert [check.what for check in checks if "forgotten" in check.what] == ["hospital-a: forgotten"]
    # What both sites refer to stays.
    blobs = list((run.folder / "blobs").iterdir())
    assert [path.read_text() for path in blobs] == [COMMON]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["forget_deliveries", "end", "_delete_files"])
def test_a_second_call_ends_what_a_killed_one_began(
    run: StoredRun, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Forgetting if place == "end" else module, place, killed)
        with pytest.raises(KeyboardInterrupt):
            forget(run, "hospital-a")
    assert forget(run, "hospital-a").events == 33
    assert forget(run, "hospital-a").events == 33
    assert traces(run) == []
    assert [check for check in verify(run) if check.problem] == []


@pytest.mark.slow
def test_what_the_server_has_logged_about_the_site_is_named(run: StoredRun) -> None:
    task = TaskRecord(1, "train", 0, 0, ("hospital-a",), (1,), (2,), (3,), (4,), (5.0,), (6.0,), {"f1": (0.5,)}, {}, {})
    with run.stores(SERVER, write=True) as (journal, _):
        stream = "cd" * 16
        body = frames.frame(1, encode(task), frames.salt_of(stream))
        Intake("study-7", journal, BlobStore(run.folder / "blobs")).handle(
            SERVER, message_of(Frames("study-7", stream, 0, 0, 1, 1, 1, body))
        )
    assert any("server's own records of 1 task," in text for text in forget(run, "hospital-a").left)


def test_nothing_further_is_taken(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.db")) as journal:
        stream = "ab" * 16
        body = frames.frame(1, encode(Metric(1, "loss", 0.5, 1)), frames.salt_of(stream))
        journal.forgotten.forget("hospital-a", {}, [])
        intake = Intake("study-7", journal, BlobStore(tmp_path / "blobs"))

        def ask(site: str, message: object) -> str:
            return decode_ack.decode(intake.handle(site, message_of(message))).verdict

        records = Frames("study-7", stream, 0, 0, 1, 1, 1, body)
        assert ask("hospital-a", Hello("study-7", 2)) == "stored"
        assert ask("hospital-a", records) == "rejected"
        assert ask("hospital-a", Bye("study-7", {stream: 1}, 1, 0)) == "stored"
        assert ask("hospital-b", records) == "stored"
        assert journal.counts() == {"hospital-b": 1}
        assert list(journal.goodbyes.all()) == []


@pytest.mark.slow
def test_what_cannot_be_forgotten_says_why(run: StoredRun) -> None:
    with pytest.raises(ConfigError, match="no site 'hospital-c'"):
        forget(run, "hospital-c")
    with pytest.raises(ConfigError, match="no site"):
        forget(run, "../hospital-a")
    with pytest.raises(ConfigError, match="server is no site"):
        forget(run, "server")
    with connect(run.base.parent.parent, site="x", run="y"):  # another run's, which is nobody's business here
        assert forget(run, "hospital-a").events == 33
    with closing(sqlite3.connect(run.folder / "journal.db")) as connection:
        assert connection.execute("SELECT count(*) FROM batch WHERE site = 'hospital-a'").fetchone() == (0,)


@pytest.mark.slow
def test_a_site_that_logs_is_not_forgotten(run: StoredRun) -> None:
    spool = Spool(run.node("hospital-a") / "spool")
    Writer(spool).record_metric("loss", 1.0, 1)
    with pytest.raises(WorkspaceError, match="still logs"):
        forget(run, "hospital-a")
    spool.close()
