"""A workspace that cannot be written is listed, shown and verified, also with a write-ahead log of a killed server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pytest

from fedtrack.delivery.ledger import LEDGER_FILE, Cursor, Ledger
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.journal.journal import Journal
from fedtrack.runs.workspace import RunRecord
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import forward

COUNT = 50

#: What a process without rights sees: SQLite, locks and temporary files, through the commands' own functions.
LOOK = """
import json, os, sys
from pathlib import Path
from fedtrack.runs.stored_run import find_run, find_runs
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.verify import verify

if sys.argv[2:]:
    warm = find_run(Path(sys.argv[2]))  # what is imported late may be where only root may read
    tally_of(warm), verify(warm)
    os.setgid(65534)
    os.setuid(65534)
    assert not os.access(sys.argv[1], os.W_OK)
run = find_run(Path(sys.argv[1]))
site = tally_of(run).sites["site-1"]
checks = verify(run)
print(json.dumps({
    "runs": len(find_runs(Path(sys.argv[1]))),
    "journaled": site.journaled,
    "lost": site.lost,
    "checked": {check.what: check.problem for check in checks},
}))
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """A workspace with a run whose journal still has a write-ahead log; tests change its rights."""
    base = tmp_path / "ws"
    folder = base / "server" / "simulate_job"
    folder.mkdir(parents=True)
    job = FedAvgJob({"w": np.zeros(1, np.float32)}, n_clients=1, num_rounds=1, name="job", analytics_receiver=False)
    (tmp_path / "client.py").touch()
    job.to_clients(ScriptRunner(str(tmp_path / "client.py"), framework="numpy"))
    exported = job.export_job(base / "job").relative_to(base)
    (folder / "run.json").write_bytes(msgspec.json.encode(RunRecord("r1", str(exported), 0)))
    journal = Journal(folder / "journal.db")
    ledger = Ledger(folder / LEDGER_FILE, journal)
    ledger.advance("tb", Cursor())
    spool = Spool(base / "site-1" / "simulate_job" / "spool")
    for step in range(COUNT):
        spool.append(Metric(step, "loss", float(step), step))
    spool.close()
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(folder / "blobs"))
    source.ended = True
    forward(source)
    yield base
    ledger.close()
    journal.close()


def keep_log(copy: Path, *, shared_memory: bool) -> None:
    folder = copy / "server" / "simulate_job"
    assert (folder / "journal.db-wal").stat().st_size > 0
    if not shared_memory:
        for path in folder.glob("*-shm"):
            path.unlink()


def copied(workspace: Path, target: Path) -> Path:
    subprocess.run(["cp", "-r", str(workspace), str(target)], check=True)
    return target


STATES: dict[str, Callable[[Path], None]] = {
    "with its log": lambda copy: keep_log(copy, shared_memory=True),
    "with its log, without shared memory": lambda copy: keep_log(copy, shared_memory=False),
}


def look(workspace: Path, *others: Path) -> dict[str, object]:
    command = [sys.executable, "-c", LOOK, str(workspace), *map(str, others)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = msgspec.json.decode(done.stdout)
    return found


def content(workspace: Path) -> dict[str, bytes]:
    files = (path for path in workspace.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path.relative_to(workspace)): path.read_bytes() for path in files}


def check(found: dict[str, object]) -> None:
    assert (found["runs"], found["journaled"], found["lost"]) == (1, COUNT, 0)
    checked = found["checked"]
    assert isinstance(checked, dict)
    assert checked["site-1: logged and in the journal"] == ""
    assert checked["server: journal.db"] == checked["server: delivery.db"] == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("state", STATES)
def test_on_a_read_only_file_system(workspace: Path, tmp_path: Path, state: str) -> None:
    copy = copied(workspace, tmp_path / "copy")
    STATES[state](copy)
    before = content(copy)
    place = tmp_path / "mounted"
    place.mkdir()
    commands = (["mount", "--bind", str(copy), str(place)], ["mount", "-o", "remount,ro,bind", str(place)])
    if any(subprocess.run(command, check=False, capture_output=True).returncode for command in commands):
        subprocess.run(["umount", str(place)], check=False, capture_output=True)
        pytest.skip("this machine mounts nothing")
    try:
        check(look(place))
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert content(copy) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize("state", STATES)
def test_by_somebody_who_may_only_read(workspace: Path, tmp_path: Path, state: str) -> None:
    with TemporaryDirectory(dir="/tmp") as folder:  # others cannot look into pytest's own
        Path(folder).chmod(0o755)
        copy = copied(workspace, Path(folder) / "copy")
        STATES[state](copy)
        subprocess.run(["chmod", "-R", "a=rX,u+w", str(copy)], check=True)
        before = content(copy)
        check(look(copy, copied(workspace, tmp_path / "warm")))
        assert content(copy) == before
