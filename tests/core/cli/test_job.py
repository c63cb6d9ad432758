"""``fedtrack job show``: what runs where, and nothing that a person need not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job import ClientAppRunner, FedAvg, FedAvgJob, FedJob, ScriptRunner
from support.command_line import fedtrack


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("client.py").write_text("import fedtrack.client\n")


def lines(job: FedJob) -> list[str]:
    return [" ".join(line.split()) for line in fedtrack("job", "show", str(job.export_job("jobs"))).splitlines()]


def test_scripts_are_shown_site_by_site_with_what_differs_from_the_defaults() -> None:
    job = FedAvgJob(name="show", n_clients=2, num_rounds=7, min_clients=1, analytics_receiver=False, key_metric="auc")
    job.to(ScriptRunner("client.py", script_args="--lr 0.1"), "site-1")
    job.to(ScriptRunner("client.py"), "site-2")
    shown = lines(job)
    assert shown[:2] == ["show: 2 sites, min_clients 1", "server"]
    assert any(line.startswith("workflow ") and "FedAvg" in line and "num_rounds=7" in line for line in shown)
    assert "component IntimeModelSelector key_metric='auc'" in shown
    assert shown[shown.index("site-1") :][:3] == [
        "site-1",
        "script client.py --lr 0.1",
        "events cross to the server",
    ]
    assert shown[shown.index("site-2") :][1] == "script client.py"


def test_sites_that_share_processes_are_shown_once() -> None:
    job = FedAvgJob(name="many", n_clients=1000, analytics_receiver=False, initial_model={})
    job.to_clients(ClientAppRunner("client.py", workers=3))
    shown = lines(job)
    assert "1000 sites, in processes that they share: site-1 to site-1000" in shown
    assert "functions ClientAppRunner script='client.py' workers=3" in shown
    assert len(shown) < 10


def test_a_job_for_all_sites_is_shown_with_names_that_it_could_have() -> None:
    job = FedJob("all", min_clients=2, mandatory_clients=["hospital"])
    job.to_server(FedAvg())
    job.to_clients(ScriptRunner("client.py"))
    shown = lines(job)
    assert shown[0].startswith("For all sites; they are named when the job is run.")
    assert [line for line in shown if line in ("hospital", "site-1", "site-2")] == ["hospital", "site-1"]


def test_the_schema_of_job_files_is_printed() -> None:
    found = json.loads(fedtrack("job", "schema"))
    assert list(found) == ["meta.json", "config/config_fed_server.json", "config/config_fed_client.json"]
    assert json.loads(fedtrack("job", "schema", "meta.json")) == found["meta.json"]
    with pytest.raises(ConfigError, match=r"'x\.json' is no file of a job; valid are meta\.json, "):
        fedtrack("job", "schema", "x.json")


def test_what_is_no_job_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"meta\.json cannot be read: No such file"):
        fedtrack("job", "show", ".")
    with pytest.raises(ConfigError, match=r"is a file and no job's folder; .*python client\.py"):
        fedtrack("job", "show", "client.py")
