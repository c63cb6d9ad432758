"""Salvage brings back what spools still have, may be killed at any moment, and leaves the damaged files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fedtrack.journal.journal import Journal
from fedtrack.runs.salvage import describe, salvage
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.workspace import RunRecord
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, decode
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import forward

COUNT = 400


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    """A run whose server was killed: its journal is cut, and the newest segment of its site is still in the spool."""
    found = StoredRun(tmp_path / "ws")
    found.folder.mkdir(parents=True)
    (found.folder / "run.json").write_bytes(msgspec.json.encode(RunRecord("r1", "job/x", 0)))
    journal = Journal(found.folder / "journal.db")
    spool = Spool(found.node("site-1") / "spool", segment_bytes=4_000)
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(found.folder / "blobs"))
    for step in range(COUNT):
        spool.append(Metric(step, "loss", float(step), step))
        if step % 5 == 4:
            forward(source)
    os.close(spool._fd)
    spool._fd = -1
    spool._counts.close()
    journal.close()
    path = found.folder / "journal.db"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    return found


def steps(run: StoredRun) -> list[int | None]:
    found = []
    with run.journal() as journal:
        after = 0
        while batches := journal.read(after):
            for batch in batches:
                for _, payload in batch.events():
                    record = decode(payload)
                    assert isinstance(record, Metric)
                    found.append(record.step)
            after = batches[-1].id
    return found


def bring_in(run: StoredRun) -> None:
    with run.journal(write=True) as journal:
        source = SpoolSource("site-1", run.node("site-1") / "spool", journal, BlobStore(run.folder / "blobs"))
        source.ended = True
        while forward(source):
            pass


def test_what_spools_still_have_is_brought_back_and_the_rest_is_counted(run: StoredRun) -> None:
    (done,) = salvage(run)
    lost, waiting = done.rescued.lost["site-1"], done.waiting["site-1"]
    assert 0 < waiting <= lost
    assert done.kept.exists()
    assert any(f"{waiting:,} of them are still in its spool" in line for line in describe(done))
    bring_in(run)
    found = steps(run)
    assert found == sorted(set(found))
    assert len(found) == COUNT - lost + waiting
    assert found[-waiting:] == list(range(COUNT - waiting, COUNT))
    with run.stores() as (journal, ledger):
        said = sum(gap.count or 0 for gap in ledger.gaps(journal) if gap.site == "site-1")
    assert said == lost - waiting
    assert salvage(run) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from fedtrack.runs.salvage import salvage
from fedtrack.runs.stored_run import StoredRun

at, count = int(sys.argv[2]), 0

def step(event, arguments):
    global count
    if event in ("open", "os.link", "os.rename", "os.remove", "sqlite3.connect") and "ws/server" in str(arguments):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(step)
salvage(StoredRun(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_salvage_that_is_killed_at_any_step_is_ended_by_the_next_one(run: StoredRun, tmp_path: Path) -> None:
    import shutil

    expected = None
    for at in range(1, 100):
        copy = tmp_path / f"copy-{at}" / "ws"
        shutil.copytree(run.base, copy)
        command = [sys.executable, "-c", KILLED, str(copy), str(at)]
        done = subprocess.run(command, check=False, timeout=60, capture_output=True)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        again = StoredRun(copy)
        salvage(again)
        bring_in(again)
        found = steps(again)
        expected = expected or found
        assert found == expected, at
        assert salvage(again) == []
        if done.returncode == 0:
            break
    else:
        pytest.fail("it never ends")
    assert at > 8
