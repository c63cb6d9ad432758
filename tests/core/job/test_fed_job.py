"""FedJob: the sites of a job are those that it names, or as many as it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job import ClientAppRunner, FedAvg, FedAvgJob, FedJob, ScriptRunner
from fedtrack.job.load import load_job


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("client.py").write_text("")


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the sites of the jobs that an engine is asked to run, which are exported and loaded instead."""
    found: list[list[str]] = []

    class Engine:
        def simulate(self, job: FedJob, workspace: Path, **_: Any) -> None:
            found.append([site.name for site in load_job(job.export_job(workspace)).sites])

    monkeypatch.setattr("fedtrack.job.fed_job.open_engine", lambda _: Engine())
    return found


def runner() -> ScriptRunner:
    return ScriptRunner("client.py")


def plain() -> FedJob:
    job = FedJob("plain")
    job.to_server(FedAvg(num_rounds=1))
    return job


@pytest.mark.parametrize("names", [["hospital-a", "hospital-b"], ["site-0", "site-1"], ["site-7"]])
def test_names_at_which_something_is_placed_are_the_sites(names: list[str]) -> None:
    for job in (plain(), FedAvgJob(analytics_receiver=False)):
        for name in names:
            job.to(runner(), name)
        loaded = load_job(job.export_job("jobs"))
        assert [site.name for site in loaded.sites] == names
        assert loaded.workflows["controller"].clients_per_round(len(names)) == len(names)  # type: ignore[attr-defined]


def test_a_site_with_something_of_its_own_is_one_of_all() -> None:
    job = FedAvgJob(n_clients=3, analytics_receiver=False)
    job.to_clients(runner())
    job.to(runner(), "site-2")
    assert job.sites() == ["site-1", "site-2", "site-3"]


def test_a_number_that_is_not_that_of_the_names_is_refused() -> None:
    job = FedAvgJob(n_clients=3, analytics_receiver=False)
    job.to(runner(), "hospital-a")
    job.to(runner(), "hospital-b")
    with pytest.raises(ConfigError, match="n_clients is 3, but the job's sites are hospital-a, hospital-b; leave"):
        job.export_job("jobs")


def test_without_names_there_are_two_sites_or_as_many_as_given() -> None:
    assert FedAvgJob().sites() == ["site-1", "site-2"]
    assert FedAvgJob(n_clients=1).sites() == ["site-1"]
    assert plain().sites() == []


def test_the_simulators_arguments_name_the_sites(simulated: list[list[str]], tmp_path: Path) -> None:
    job = plain()
    job.to_clients(runner())
    job.simulator_run(tmp_path / "a", clients=["hospital-a", "hospital-b"])
    job = plain()
    job.to_clients(runner())
    job.simulator_run(tmp_path / "b", None, ["x"])
    job = plain()
    job.to_clients(runner())
    job.simulator_run(tmp_path / "c", 3)
    job.simulator_run(tmp_path / "d", 2, 2)  # the third argument is threads, as in FLARE before 2.7
    assert simulated == [["hospital-a", "hospital-b"], ["x"], ["site-1", "site-2", "site-3"], ["site-1", "site-2"]]


def test_sites_of_functions_have_names_too(simulated: list[list[str]], tmp_path: Path) -> None:
    job = FedAvgJob({"path": "net.py:build"}, analytics_receiver=False)
    Path("net.py").write_text("import numpy\ndef build(): return {'w': numpy.zeros(1)}\n")
    job.to_clients(ClientAppRunner("client.py"))
    job.simulator_run(tmp_path / "ws", clients=["a", "b", "c"])
    assert simulated == [["a", "b", "c"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clients": ["a"], "n_clients": 1}, "n_clients is 1 and clients are given, too"),
        ({"clients": []}, "clients is empty; name sites"),
        ({"clients": ["a", "a"]}, "clients names 'a' twice"),
        ({"clients": ["../a"]}, r"A name in clients is '\.\./a'"),
        ({"clients": ["server"]}, "clients has 'server', which is the server"),
        ({"n_clients": 0}, "n_clients is 0; it must be 1 or more"),
        ({}, "has no site; give simulator_run n_clients or clients"),
    ],
)
def test_names_are_checked(arguments: dict[str, Any], message: str) -> None:
    job = plain()
    job.to_clients(runner())
    with pytest.raises(ConfigError, match=message):
        job.simulator_run("ws", **arguments)


def test_a_site_with_something_of_its_own_must_take_part() -> None:
    job = plain()
    job.to(runner(), "a")
    with pytest.raises(ConfigError, match="Something is placed at 'a', which is none of the clients b; add it"):
        job.simulator_run("ws", clients=["b"])


def test_a_job_without_names_is_exported_for_all_sites() -> None:
    job = FedJob("plain", min_clients=2, mandatory_clients=["b"])
    job.to_server(FedAvg(num_rounds=1))
    job.to_clients(runner())
    folder = job.export_job("jobs")
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["deploy_map"] == {"app_server": ["server"], "app_sites": ["@ALL"]}
    with pytest.raises(ConfigError, match=r"has '@ALL', so the names .*: fedtrack run jobs/plain -n 2, or --clients"):
        load_job(folder)
