"""Jobs that run to their end on the local engine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fedtrack.journal.journal import Journal
from fedtrack.plugins import registry
from fedtrack.runs.result import RunResult
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, decode
from fedtrack_local.models.params import load_params
from support.throwaway import Install, receivers

from .conftest import MakeJob


def metrics_of(folder: Path, site: str) -> list[Metric]:
    journal = Journal(folder / "journal.db")
    records = [
        decode(payload) for batch in journal.read(0) if batch.site == site for _, payload in frames.split(batch.body)
    ]
    journal.close()
    return [record for record in records if isinstance(record, Metric)]


def test_every_log_call_is_journaled_once_and_in_order(make_job: MakeJob, tmp_path: Path) -> None:
    result = make_job(evaluate_final_model=True).simulator_run(tmp_path / "ws")
    assert result.status == "completed"
    for site in ("site-1", "site-2"):
        assert (result.sites[site].logged, result.sites[site].journaled) == (100, 100)
        assert [m.step for m in metrics_of(result.folder, site)] == list(range(100))
    assert result.sites["server"].logged == result.sites["server"].journaled > 0


def test_rounds_average_and_are_summarised(make_job: MakeJob, tmp_path: Path) -> None:
    result = make_job(evaluate_final_model=True).simulator_run(tmp_path / "ws")
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    np.testing.assert_array_equal(model["w"], np.full((2, 3), 2.0, np.float32))
    assert [r.metrics["accuracy"] for r in result.rounds] == [0.0, pytest.approx(0.1)]
    assert result.final_metrics == {"accuracy": 1.0}
    assert result.best_round == 2
    assert RunResult.load(result.folder / "run_summary.json") == result


def test_server_logs_each_round_as_a_site_of_its_own(make_job: MakeJob, tmp_path: Path) -> None:
    result = make_job().simulator_run(tmp_path / "ws")
    own = metrics_of(result.folder, "server")
    assert {m.key for m in own} >= {"accuracy", "round/seconds", "round/bytes", "round/sites", "round/steps"}
    assert [m.value for m in own if m.key == "round/steps"] == [100.0, 100.0]


def test_external_process_runs_the_same_script(make_job: MakeJob, tmp_path: Path) -> None:
    result = make_job(external=True).simulator_run(tmp_path / "ws")
    assert [result.sites[site].journaled for site in ("site-1", "site-2")] == [100, 100]
    assert [result.sites[site].logged for site in ("site-1", "site-2")] == [100, 100]


def test_events_of_a_site_without_converter_stay_home(make_job: MakeJob, tmp_path: Path) -> None:
    result = make_job(convert_to_fed_event=False).simulator_run(tmp_path / "ws")
    assert [result.sites[site].journaled for site in ("site-1", "site-2")] == [0, 0]
    assert result.sites["site-1"].logged == 100
    assert list((tmp_path / "ws" / "site-1" / "simulate_job" / "spool").glob("*.spool"))


CANARY = "canary-7f3a"
WITHHELD = ("GITHUB_TOKEN", "HF_TOKEN", "PGPASSWORD", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "MLFLOW_X", "UNKNOWN")


@pytest.mark.threat("T9")
def test_a_site_gets_the_variables_of_a_list(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in WITHHELD:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("DATA_ROOT", "/data")
    monkeypatch.setenv("OMP_PLACES", "cores")
    monkeypatch.setenv("FEDTRACK_SITE_VARIABLES", "DATA_ROOT")
    train = """
    import json, os, pathlib
    pathlib.Path("environment.json").write_text(json.dumps(dict(os.environ)))
    parent = pathlib.Path(f"/proc/{os.getppid()}/environ").read_bytes()
    pathlib.Path("parent").write_bytes(parent)
    """
    result = make_job(train).simulator_run(tmp_path / "ws")
    custom = result.workspace / "job" / "test-job" / "app_site-1" / "custom"
    seen = json.loads((custom / "environment.json").read_text())
    assert (seen["DATA_ROOT"], seen["OMP_PLACES"]) == ("/data", "cores")
    assert CANARY not in seen.values()
    assert CANARY.encode() not in (custom / "parent").read_bytes()


def test_same_job_gives_the_same_model_twice(make_job: MakeJob, tmp_path: Path) -> None:
    train = (
        "model.params = {k: v + hash(flare.get_site_name()[-1:].encode()[0]) * 0.1 for k, v in model.params.items()}"
    )
    models = [
        (
            make_job(train, n_clients=3).simulator_run(tmp_path / ws).folder
            / "app_server"
            / "FL_global_model.safetensors"
        )
        for ws in ("one", "two")
    ]
    first, second = (load_params(path)["w"] for path in models)
    np.testing.assert_array_equal(first, second)


def test_earlier_run_is_kept(make_job: MakeJob, tmp_path: Path) -> None:
    first = make_job().simulator_run(tmp_path / "ws")
    second = make_job().simulator_run(tmp_path / "ws")
    assert (first.folder / "journal.db").exists()
    assert first.folder != second.folder
    assert second.sites["site-1"].journaled == 100


def test_metric_that_is_not_a_number_does_not_spoil_the_summary(make_job: MakeJob, tmp_path: Path) -> None:
    train = "flare.send(flare.FLModel(params=model.params, metrics={'accuracy': float('nan')})); continue"
    result = make_job(train).simulator_run(tmp_path / "ws")
    assert RunResult.load(result.folder / "run_summary.json").rounds[0].metrics == {"accuracy": None}


def test_what_a_forked_child_logs_is_counted(make_job: MakeJob, tmp_path: Path) -> None:
    train = """
    import os
    if (child := os.fork()) == 0:
        writer.record_metric("child", 1.0, model.current_round)
        os._exit(0)
    os.waitpid(child, 0)
    """
    result = make_job(train).simulator_run(tmp_path / "ws")
    assert (result.sites["site-1"].logged, result.sites["site-1"].journaled) == (102, 102)


@pytest.mark.threat("T10")
def test_workspace_is_private(make_job: MakeJob, tmp_path: Path) -> None:
    make_job().simulator_run(tmp_path / "ws")
    spool = tmp_path / "ws" / "site-1" / "simulate_job" / "spool"
    assert spool.stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "ws" / "server" / "simulate_job").glob("journal.db*"):
        assert path.stat().st_mode & 0o077 == 0


def test_receivers_prepare_in_the_process_that_feeds_them(make_job: MakeJob, tmp_path: Path, install: Install) -> None:
    prepares = f"""
    def prepare(self):
        import os
        from pathlib import Path
        Path({str(tmp_path / "prepared")!r}).write_text(str(os.getpid()))
        raise RuntimeError("no such module")  # harms nobody
    """
    install("fedtrack-early", receivers("early", extra=prepares))
    result = make_job(analytics_receiver=registry().receiver("early")()).simulator_run(tmp_path / "ws")
    assert (tmp_path / "prepared").read_text() != str(os.getpid())
    assert (result.status, result.receivers["receiver"].pending) == ("completed", 0)
