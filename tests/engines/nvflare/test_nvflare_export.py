"""The FLARE job that is made of a fedtrack job, and the messages before it is sent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.engine import RunHandle
from fedtrack.errors import ConfigError, JobRejected, NotSupported, RunNotFound
from fedtrack.job import ClientAppRunner, FedAvgJob, ScriptRunner
from fedtrack.job.load import load_job
from fedtrack.plugins import registry
from fedtrack_local.workflows.fedavg import FedAvg
from fedtrack_nvflare import NVFlareEngine
from fedtrack_nvflare.export import COLLECTOR, SHIPPER, export, job_problems
from support.median import AGGREGATORS
from support.throwaway import Install, install, site

__all__ = ["install", "site"]

MakeJob = Callable[..., Path]


@pytest.fixture
def make_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJob:
    """Return a builder of exported jobs; ``change`` places more in them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text("import fedtrack.client as flare\n")

    def make(change: Callable[[FedAvgJob], object] = lambda job: None, **kwargs: Any) -> Path:
        job = FedAvgJob({"w": np.zeros(3, np.float32)}, n_clients=2, num_rounds=3, name="job", **kwargs)
        job.to_clients(ScriptRunner("client.py", framework="numpy"))
        change(job)
        return job.export_job(tmp_path / "jobs")

    return make


def configs(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    names = ("app/config/config_fed_server.json", "app/config/config_fed_client.json", "meta.json")
    server, client, meta = (json.loads((folder / name).read_text()) for name in names)
    return server, client, meta


def test_one_app_for_all_with_two_components(make_job: MakeJob, tmp_path: Path) -> None:
    folder = export(make_job(), tmp_path / "flare", "run-1")
    assert folder.name == "job.run-1"
    server, client, meta = configs(folder)
    assert [part["path"] for part in server["components"]] == [COLLECTOR]
    assert [part["path"] for part in client["components"]] == [SHIPPER]
    assert meta["deploy_map"] == {"app": ["@ALL"]}
    assert meta["min_clients"] == 2
    assert list((folder / "app" / "custom").iterdir())  # without it the server would apply its class list
    flow = server["workflows"][0]
    assert flow["path"] == "nvflare.app_common.workflows.fedavg.FedAvg"
    assert (flow["args"]["num_rounds"], flow["args"]["persistor_id"]) == (3, "collector")
    # The server waits for the last events longer than FLARE's five seconds.
    assert server["end_run_readiness_timeout"] > 30


def test_job_travels_as_it_is(make_job: MakeJob, tmp_path: Path) -> None:
    source = make_job()
    copy = export(source, tmp_path / "flare", "run-1") / "app" / "custom" / "fedtrack_job"
    for path in source.rglob("*.json"):
        assert (copy / path.relative_to(source)).read_bytes() == path.read_bytes()


def test_sites_that_differ_are_named(make_job: MakeJob, tmp_path: Path) -> None:
    runner = ScriptRunner("client.py", framework="numpy", script_args="--fast")
    folder = export(make_job(lambda job: job.to(runner, "site-2")), tmp_path / "flare", "run-1")
    assert configs(folder)[2]["deploy_map"] == {"app": ["server", "site-1", "site-2"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda job: job.to_server(FedAvg()), "one FedAvg"),
        (
            lambda job: job.to(ScriptRunner("client.py", framework="numpy", launch_external_process=True), "site-2"),
            "site-2 starts its script differently",
        ),
        (lambda job: job.to(registry().receiver("tensorboard")(), "site-1"), "site-1 hosts the receiver"),
    ],
)
def test_check_says_what_submit_refuses(
    make_job: MakeJob, tmp_path: Path, change: Callable[[FedAvgJob], object], message: str
) -> None:
    job, target = make_job(change), f"simulator:{tmp_path / 'ws'}"
    problems = NVFlareEngine().check(job, target)
    assert any(problem.fatal and message in problem.message for problem in problems)
    with pytest.raises(JobRejected, match=message):
        NVFlareEngine().submit(job, target)


def test_functions_for_many_sites_are_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text("from fedtrack.client import ClientApp\napp = ClientApp()\n")
    job = FedAvgJob({"w": np.zeros(3, np.float32)}, n_clients=2, num_rounds=3, name="job")
    job.to_clients(ClientAppRunner("client.py"))
    problems = NVFlareEngine().check(job.export_job(tmp_path / "jobs"), f"simulator:{tmp_path / 'ws'}")
    assert any(problem.fatal and "app.run()" in problem.message for problem in problems)


def test_another_aggregator_is_refused_with_what_to_do(make_job: MakeJob, install: Install, tmp_path: Path) -> None:
    install("fedtrack-robust", AGGREGATORS)
    problems = job_problems(load_job(make_job(aggregator="median"), node=""))
    assert problems == ["Its FedAvg uses the aggregator 'median'; on FLARE there is 'weighted' only, use that."]


def test_check_notes_what_is_left_out(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(evaluate_final_model=True, task_timeout=5.0)
    problems = NVFlareEngine().check(job, f"simulator:{tmp_path / 'ws'}")
    assert [problem.fatal for problem in problems] == [False, False]


@pytest.mark.parametrize("target", ["nowhere", "simulator:"])
def test_target_that_is_none(make_job: MakeJob, target: str) -> None:
    with pytest.raises(ConfigError, match=r"target|startup kit"):
        NVFlareEngine().submit(make_job(), target)


def test_simulator_knows_its_runs_only(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound):
        NVFlareEngine().status(RunHandle("nvflare", f"simulator:{tmp_path}", "nobody", ""))
    with pytest.raises(NotSupported, match="gone with their run"):
        NVFlareEngine().drain(RunHandle("nvflare", f"simulator:{tmp_path}", "nobody", ""))


def modules_after(code: str) -> set[str]:
    probe = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_listing_engines_imports_no_flare() -> None:
    code = "from fedtrack.plugins import registry\nassert registry().engines['nvflare'].summary"
    assert "nvflare" not in modules_after(code)


def test_caps_need_no_import_of_flare_either() -> None:
    code = "from fedtrack_nvflare import NVFlareEngine\nassert NVFlareEngine().caps().event_path == 'acked'"
    assert "nvflare" not in modules_after(code)


@pytest.mark.parametrize("module", ["collector", "shipper", "backend", "bridge"])
def test_nothing_of_ours_imports_torch(module: str, tmp_path: Path) -> None:
    # FLARE imports an installed torch at the end of every job, 400 MB and seconds: no need of ours may put it there.
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    code = f"sys.path.insert(0, {str(tmp_path)!r})\nimport fedtrack_nvflare.{module}"
    assert "torch" not in modules_after(code)
