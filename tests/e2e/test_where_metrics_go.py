"""The places of a job's receivers determine which records they get; counted in the real stores."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack import plugins
from fedtrack.journal.journal import Journal
from fedtrack_mlflow import MLflowReceiver
from fedtrack_tensorboard import TBAnalyticsReceiver
from fedtrack_wandb import WandBReceiver

from .conftest import make_job
from .stores import read_mlflow, read_tensorboard, read_wandb

LOCAL, FED = "analytix_log_stats", "fed.analytix_log_stats"

#: What one site logs with scripts/log_steps.py.
POINTS = [(step, 1 / 2 ** (step % 8)) for step in range(40)]


def test_by_default_only_the_server_receives(tmp_path: Path) -> None:
    result = make_job("log_steps.py").simulator_run(tmp_path)
    stored = read_tensorboard(result.folder / "tb_events")
    assert {site: found.metrics["loss"] for site, found in stored.items() if site != "server"} == {
        "site-1": POINTS,
        "site-2": POINTS,
    }
    assert list(result.receivers) == ["receiver"]
    assert not list(tmp_path.glob("site-*/simulate_job/tb_events"))


def test_events_that_stay_home_reach_the_site_and_nobody_else(tmp_path: Path) -> None:
    job = make_job("log_steps.py", convert_to_fed_event=False)
    job.to(MLflowReceiver(events=[LOCAL]), "site-1", id="mlflow")
    job.to(WandBReceiver(events=[LOCAL]), "site-1", id="wandb")
    job.to(TBAnalyticsReceiver(events=[LOCAL]), "site-1", id="tensorboard")
    result = job.simulator_run(tmp_path)
    home = tmp_path / "site-1" / "simulate_job"
    for stored in (read_mlflow(home / "mlflow.db"), read_wandb(home), read_tensorboard(home / "tb_events")):
        assert list(stored) == ["site-1"]
        assert stored["site-1"].metrics == {"loss": POINTS}
    assert list(read_tensorboard(result.folder / "tb_events")) == ["server"]
    for name in ("mlflow", "wandb", "tensorboard"):
        summary = result.receivers[f"site-1/{name}"]
        assert (summary.node, summary.delivered, summary.pending, summary.error) == ("site-1", 40, 0, "")
    site = result.sites["site-1"]
    assert (site.logged, site.journaled, site.streams_to_server) == (40, 40, False)
    assert result.sites["site-2"].journaled == 0  # nobody reads it: what it logged stays in its spool


def test_both_at_once_hold_the_same_records(tmp_path: Path) -> None:
    job = make_job("log_steps.py")
    job.to_server(MLflowReceiver(events=[FED]), id="mlflow")
    job.to_clients(MLflowReceiver(events=[LOCAL]), id="mlflow")
    result = job.simulator_run(tmp_path)
    on_server = read_mlflow(result.folder / "mlflow.db")
    for name in ("site-1", "site-2"):
        at_site = read_mlflow(tmp_path / name / "simulate_job" / "mlflow.db")
        assert list(at_site) == [name]
        assert at_site[name].metrics == on_server[name].metrics == {"loss": POINTS}
        assert result.receivers[f"{name}/mlflow"].delivered == 40


def test_several_receivers_of_one_kind_keep_apart(tmp_path: Path) -> None:
    """Two stores, two experiments in one store, and one that only listens to the server itself."""
    one, two = (f"sqlite:///{tmp_path / name}.db" for name in ("one", "two"))
    job = make_job("log_steps.py", analytics_receiver=False)
    job.to_server(MLflowReceiver(one, {"experiment_name": "first"}), id="first")
    job.to_server(MLflowReceiver(one, {"experiment_name": "second"}), id="second")
    job.to_server(MLflowReceiver(two, {"experiment_name": "own"}, None, [LOCAL]), id="own")
    job.to_server(TBAnalyticsReceiver("all_events", [LOCAL, FED]), id="all")
    job.to_server(TBAnalyticsReceiver("own_events", [LOCAL]), id="own-events")
    result = job.simulator_run(tmp_path / "ws")
    own = result.sites["server"].journaled
    for stored in (
        read_mlflow(tmp_path / "one.db", "first"),
        read_mlflow(tmp_path / "one.db", "second"),
        read_tensorboard(result.folder / "all_events"),
    ):
        assert {site: found.points for site, found in stored.items()} == {"site-1": 40, "site-2": 40, "server": own}
    for stored in (read_mlflow(tmp_path / "two.db", "own"), read_tensorboard(result.folder / "own_events")):
        assert {site: found.points for site, found in stored.items()} == {"server": own}
    delivered = {name: receiver.delivered for name, receiver in result.receivers.items()}
    assert delivered == {"first": 80 + own, "second": 80 + own, "own": own, "all": 80 + own, "own-events": own}


@pytest.mark.parametrize("crosses", [True, False])
def test_killed_deliverer_of_a_site_loses_nothing_and_stops_nobody(tmp_path: Path, crosses: bool) -> None:
    home = tmp_path / "site-1" / "simulate_job"
    job = make_job("kill_agent.py", args=shlex.quote(str(home / "tb_events")), convert_to_fed_event=crosses)
    job.to(TBAnalyticsReceiver(), "site-1", id="own")
    result = job.simulator_run(tmp_path)
    assert result.status == "completed"
    assert [r.sites for r in result.rounds] == [["site-1", "site-2"]] * 2
    summary = result.receivers["site-1/own"]
    assert (summary.delivered, summary.pending) == (40, 0)  # it was started again
    assert (result.sites["site-1"].logged, result.sites["site-1"].journaled) == (40, 40)
    at_server = read_tensorboard(result.folder / "tb_events")
    assert ("site-1" in at_server) is crosses
    if crosses:
        assert at_server["site-1"].metrics["loss"] == POINTS
    journal = Journal(home / "journal.db")
    assert journal.counts() == {"site-1": 40}
    journal.close()


@pytest.fixture
def troublesome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the plugin in troublesome.py, for this process and those that it starts."""
    site = tmp_path / "site-packages"
    info = site / "fedtrack_troublesome-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "troublesome.py").write_text((Path(__file__).parent / "troublesome.py").read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fedtrack-troublesome\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedtrack]\ntroublesome = troublesome\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    plugins.unload()
    yield
    plugins.unload()


@pytest.mark.usefixtures("troublesome")
@pytest.mark.parametrize("place", ["site-1", "server"])
def test_bad_receivers_delay_and_harm_nobody(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedtrack_local.course.STALL_SECONDS", 2.0)
    job = make_job("log_steps.py")
    for name in ("hanging", "raising", "deaf"):
        job.to(plugins.registry().receiver(name)(), place, id=name)
    job.to(TBAnalyticsReceiver("good"), place, id="good")
    result = job.simulator_run(tmp_path / "ws")
    prefix, folder = ("", result.folder) if place == "server" else ("site-1/", tmp_path / "ws/site-1/simulate_job")
    everything = 40 if place == "site-1" else 80 + result.sites["server"].journaled
    assert result.status == "completed"
    assert sum(r.seconds for r in result.rounds) < 60  # the receivers would take hours
    for good in ("receiver", f"{prefix}good"):
        assert (result.receivers[good].pending, result.receivers[good].error) == (0, "")
    assert read_tensorboard(folder / "good")["site-1"].metrics["loss"] == POINTS
    assert "still being opened" in result.receivers[f"{prefix}deaf"].error
    for bad in ("hanging", "deaf"):
        assert (result.receivers[prefix + bad].delivered, result.receivers[prefix + bad].pending) == (0, everything)
    raising = result.receivers[f"{prefix}raising"]
    assert (raising.delivered, raising.dead + raising.pending) == (0, everything)
