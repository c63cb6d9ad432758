"""The receiver in online mode, with the real SDK and a W&B server on a loopback port."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from fedtrack import RunInfo, Transient
from fedtrack.tracking.records import Artifact, Metric, Param
from fedtrack_wandb import site_run
from fedtrack_wandb.receiver import WandBReceiver

from .conftest import MakeReceiver, batch
from .wandb_server import WandBServer


def test_rows_settings_and_files_arrive(make_receiver: MakeReceiver, wandb_server: WandBServer) -> None:
    receiver = make_receiver(mode="online", wandb_args={"project": "experiments", "tags": ["t"]})
    for site in ("site-1", "site-2"):
        receiver.receive(batch(Param(0, "lr", 0.1), *(Metric(10**9, "loss", i, 9 - i) for i in range(9)), site=site))
    receiver.receive(batch(Artifact(0, "a/b.txt", b"content"), site="site-2", first=10))
    results = receiver.results()
    receiver.close("completed")

    assert results is not None
    assert results.location == f"{wandb_server.url}/team/experiments"
    assert sorted(wandb_server.runs) == ["job-1a2b-site-1", "job-1a2b-site-2"]
    for run in wandb_server.runs.values():
        assert run.project == "experiments"
        assert run.fields["groupName"] == "hello-job-1a2b"
        assert run.config["lr"] == 0.1
        assert [(row["loss"], row["global_step"]) for row in run.rows] == [(i, 9 - i) for i in range(9)]
        assert {row["_timestamp"] for row in run.rows} == {1.0}
        assert run.summary["loss"] == 8
        assert run.exit_code == 0
    assert wandb_server.runs["job-1a2b-site-2"].files["artifacts/a/b.txt"] == b"content"
    assert wandb_server.authorizations == {"Basic YXBpOmtra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}


def test_an_outage_loses_nothing(make_receiver: MakeReceiver, wandb_server: WandBServer) -> None:
    receiver = make_receiver(mode="online", process_timeout=30.0)
    receiver.receive(batch(*(Metric(i, "v", i) for i in range(50))))
    wandb_server.failing = True
    receiver.receive(batch(*(Metric(i, "v", i) for i in range(50, 100)), first=50))
    receiver.flush()
    wait_for_refusals(wandb_server, 1)
    threading.Timer(1.0, setattr, (wandb_server, "failing", False)).start()
    receiver.close("completed")
    assert [row["v"] for row in wandb_server.runs["job-1a2b-site-1"].rows] == [*range(100)]


def test_a_site_that_joins_during_an_outage(
    make_receiver: MakeReceiver, wandb_server: WandBServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run cannot start, which costs the other sites their wandb-core, but no row."""
    monkeypatch.setattr("fedtrack_wandb.arguments.INIT_TIMEOUT", 1.0)
    receiver = make_receiver(mode="online", process_timeout=1.0)
    receiver.receive(batch(*(Metric(i, "v", i) for i in range(50))))
    wandb_server.failing = True
    late = batch(Metric(0, "v", 0.0), site="late")
    with pytest.raises(Transient, match="job-1a2b-late"):
        receiver.receive(late)
    with pytest.raises(Transient):
        receiver.receive(batch(*(Metric(i, "v", i) for i in range(50, 60)), first=50))
    wandb_server.failing = False
    receiver.receive(late)
    receiver.receive(batch(*(Metric(i, "v", i) for i in range(50, 60)), first=50))
    receiver.close("completed")
    assert [row["v"] for row in wandb_server.runs["job-1a2b-site-1"].rows] == [*range(60)]
    assert len(wandb_server.runs["job-1a2b-late"].rows) == 1


def test_closing_is_bounded_during_an_outage(
    make_receiver: MakeReceiver, wandb_server: WandBServer, run_info: RunInfo, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = make_receiver(mode="online", process_timeout=1.0)
    for site in ("a", "b", "c"):
        receiver.receive(batch(Metric(0, "v", 1.0), site=site))
    wandb_server.failing = True
    started = time.monotonic()
    receiver.close("completed")
    assert time.monotonic() - started < 10
    assert "wandb sync" in caplog.text
    results = receiver.results()
    assert results is not None
    assert results.command.startswith("wandb sync ")
    assert results.command.count(str(run_info.folder)) == 3, "what is only here can be uploaded later"


@pytest.mark.parametrize("size", [50, 350])
def test_memory_is_bounded(
    make_receiver: MakeReceiver, wandb_server: WandBServer, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """After TAIL_LIMIT rows, the run is ended and resumed, so that the rows need not be kept."""
    monkeypatch.setattr(site_run, "TAIL_LIMIT", 100)
    receiver = make_receiver(mode="online")
    for start in range(0, 350, size):
        receiver.receive(batch(*(Metric(i, "v", i) for i in range(start, start + size)), first=start))
        assert len(receiver._runs["site-1"]._tail) <= 100
    receiver.close("completed")
    assert [row["v"] for row in wandb_server.runs["job-1a2b-site-1"].rows] == [*range(350)]
    assert wandb_server.operations["RunResumeStatus"] == 4


def test_missing_credentials_are_named_and_may_come_later(
    run_info: RunInfo, wandb_server: WandBServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = WandBReceiver(mode="online", wandb_args={"entity": "team", "project": "p"})
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(Transient, match="WANDB_API_KEY"):
        receiver.open(run_info)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    receiver.open(run_info)
    results = receiver.results()
    assert results is not None
    assert results.location == f"{wandb_server.url}/team/p"
    receiver.receive(batch(Metric(0, "v", 1.0)))
    receiver.close("completed")
    assert len(wandb_server.runs["job-1a2b-site-1"].rows) == 1


def test_an_unreachable_server_is_transient(make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedtrack_wandb.arguments.INIT_TIMEOUT", 1.0)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    receiver = make_receiver(mode="online")
    with pytest.raises(Transient, match="job-1a2b-site-1"):
        receiver.receive(batch(Metric(0, "v", 1.0)))


def test_offline_files_can_be_uploaded(
    make_receiver: MakeReceiver, run_info: RunInfo, wandb_server: WandBServer
) -> None:
    """Also those of two receivers that served the same run, one after the other."""
    for first in (0, 5):
        receiver = make_receiver(wandb_args={"project": "p"})
        receiver.receive(batch(*(Metric(i, "v", i, i) for i in range(first, first + 5)), first=first))
        receiver.close("completed")
    results = receiver.results()
    assert results is not None
    upload = subprocess.run(
        ["/bin/sh", "-c", results.command.replace("wandb sync", f"{sys.executable} -m wandb sync")],
        env=os.environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    assert upload.returncode == 0, upload.stdout + upload.stderr
    assert [row["v"] for row in wandb_server.runs["job-1a2b-site-1"].rows] == [*range(10)]


def wait_for_refusals(server: WandBServer, count: int) -> None:
    deadline = time.monotonic() + 30
    while server.refused < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
