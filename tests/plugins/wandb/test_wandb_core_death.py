"""wandb-core is killed while it has records: every row arrives, none twice."""

from __future__ import annotations

import gc
import json
import subprocess

import pytest

from fedtrack import RunInfo
from fedtrack.tracking.records import Artifact, Metric, Param, Text

from .conftest import MakeReceiver, batch, core_pids
from .offline_run import read_runs
from .wandb_server import WandBServer


def test_offline_nothing_is_lost_or_doubled(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    for start in range(0, 1000, 100):
        for site in ("site-1", "site-2"):
            receiver.receive(batch(*(Metric(i, "v", i, i) for i in range(start, start + 100)), site=site, first=start))
        if start in (300, 600):
            kill_core()
    receiver.close("completed")

    runs = read_runs(run_info.folder)
    for site in ("site-1", "site-2"):
        assert runs[f"job-1a2b-{site}"].values("v") == [*range(1000)]
        assert len(runs[f"job-1a2b-{site}"].files) == 3


def test_flush_notices_a_death(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    receiver.receive(batch(*(Metric(i, "v", i) for i in range(50))))
    kill_core()
    receiver.flush()
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("v") == [*range(50)]


def test_close_notices_a_death(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    receiver.receive(batch(*(Metric(i, "v", i) for i in range(50))))
    kill_core()
    receiver.close("completed")
    run = read_runs(run_info.folder)["job-1a2b-site-1"]
    assert run.values("v") == [*range(50)]
    assert run.exit_code == 0


def test_settings_and_files_are_sent_again(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    receiver.receive(batch(Param(1, "lr", 0.1), Artifact(2, "a.txt", b"a"), Text(3, "note", "two\nlines")))
    kill_core()
    receiver.receive(batch(Param(4, "momentum", 0.9), first=3))
    receiver.close("completed")

    run = read_runs(run_info.folder)["job-1a2b-site-1"]
    assert (run.config["lr"], run.config["momentum"]) == (0.1, 0.9)
    assert (run.files[-1].parent / "files/artifacts/a.txt").read_bytes() == b"a"
    assert len(run.rows) == 1


@pytest.mark.parametrize("uploaded", [0, 120, 401])
def test_online_nothing_is_lost_or_doubled(
    make_receiver: MakeReceiver, wandb_server: WandBServer, run_info: RunInfo, uploaded: int
) -> None:
    """However much of its file wandb-core had uploaded when it died."""
    receiver = make_receiver(mode="online", wandb_args={"project": "p"})
    receiver.receive(batch(Text(0, "note", "two\nlines"), *(Metric(i, "v", i, i) for i in range(400))))
    receiver.flush()
    kill_core()
    run = wandb_server.runs["job-1a2b-site-1"]
    rows = read_runs(run_info.folder)["job-1a2b-site-1"].rows
    # wandb-core uploads every 15 seconds, which nobody wants to wait for.
    run.history = [json.dumps(row) for row in rows[:uploaded]]
    run.summary = rows[uploaded - 1] if uploaded else {}
    receiver.receive(batch(*(Metric(i, "v", i, i) for i in range(400, 600)), first=401))
    receiver.close("completed")

    assert [row["v"] for row in run.rows if "v" in row] == [*range(600)]
    assert [row["_step"] for row in run.rows] == [*range(601)]
    assert any(name.startswith("media/html/note") for name in run.files)


def kill_core() -> None:
    (pid,) = core_pids()
    # wandb never waits for a wandb-core that died, and Python warns of children that nobody waited for.
    (process,) = [item for item in gc.get_objects() if type(item) is subprocess.Popen and item.pid == pid]
    process.kill()
    process.wait()
