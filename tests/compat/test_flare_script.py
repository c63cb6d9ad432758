"""A script and jobs with FLARE's calls, run from beginning to end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fedtrack.job import (
    ANALYTIC_EVENT_TYPE,
    ConvertToFedEvent,
    FedAvg,
    FedAvgJob,
    FedJob,
    FrameworkType,
    PTModel,
    ScriptRunner,
)
from fedtrack.journal.journal import Journal
from fedtrack.runs.result import RunResult
from fedtrack.tracking.records import decode, kind_of
from fedtrack_local.models.params import load_params
from fedtrack_tensorboard import TBAnalyticsReceiver

pytestmark = pytest.mark.slow

SCRIPT = str(Path(__file__).with_name("flare_script.py"))
ARGS = "--lr 0.5 --note 'two words'"

MODEL = {"w": np.zeros((2, 2), np.float32)}

#: What the script logs at a site in two rounds of three steps.
KINDS = {"metric": 2 * (3 * 11 + 3), "param": 3 + 2, "text": 1 + 2, "tag": 3}


def keys_and_kinds(result: RunResult, site: str) -> tuple[set[str], Counter[str]]:
    journal = Journal(result.folder / "journal.db")
    batches = [batch for batch in journal.read(0) if batch.site == site]
    journal.close()
    records = [decode(payload) for batch in batches for _, payload in batch.events()]
    return {getattr(record, "key", "") for record in records}, Counter(map(kind_of, records))


def check(result: RunResult, workspace: Path, job_name: str, tasks: list[str]) -> None:
    assert result.status == "completed"
    for site in ("site-1", "site-2"):
        keys, kinds = keys_and_kinds(result, site)
        assert kinds == KINDS
        assert keys >= {"tb/loss", "tb/pair/a", "ml/loss", "ml/b", "wb/score", "raw/loss", "raw/b", "start.txt"}
        assert (result.sites[site].logged, result.sites[site].rejected) == (sum(KINDS.values()), 0)
        seen = json.loads((workspace / f"job/{job_name}/app_{site}/custom/seen-{site}.json").read_text())
        assert seen["system_info"] == {"job_id": result.run_id, "site_name": site}
        assert seen["args"] == {"lr": 0.5, "note": "two words"}
        assert seen["config"]["site_name"] == site
        assert seen["tasks"] == tasks
    # Two rounds that each add the difference 0.5 everywhere.
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    np.testing.assert_array_equal(model["w"], np.full((2, 2), 1.0, np.float32))
    assert [r.metrics["accuracy"] for r in result.rounds] == [0.0, 2.0]


@pytest.mark.parametrize("external", [False, True])
def test_fed_avg_job_as_flares_examples_build_it(tmp_path: Path, external: bool) -> None:
    job = FedAvgJob(name="fedavg", n_clients=2, num_rounds=2, initial_model=MODEL, evaluate_final_model=True)
    for i in range(2):
        executor = ScriptRunner(
            script=SCRIPT, script_args=ARGS, launch_external_process=external, framework=FrameworkType.NUMPY
        )
        job.to(executor, f"site-{i + 1}")
    result = job.simulator_run(workspace=str(tmp_path), log_config=None)
    check(result, tmp_path, "fedavg", ["train", "train", "validate"])
    assert result.receivers["receiver"].pending == 0


def test_fed_job_as_flares_wandb_example_builds_it(tmp_path: Path) -> None:
    """The 2.6 form: every part placed by hand, one receiver on the server and one at each site."""
    job = FedJob(name="by_hand")
    comp_ids = job.to(PTModel(MODEL), "server")
    controller = FedAvg(num_clients=2, num_rounds=2, persistor_id=comp_ids["persistor_id"])
    job.to(controller, "server")
    job.to_server(TBAnalyticsReceiver("tb_events", ["fed.analytix_log_stats"]))
    for i in range(2):
        site_name = f"site-{i + 1}"
        job.to(ScriptRunner(script=SCRIPT, script_args=ARGS, framework=FrameworkType.NUMPY), site_name)
        job.to(ConvertToFedEvent(events_to_convert=[ANALYTIC_EVENT_TYPE]), site_name)
        job.to(TBAnalyticsReceiver(events=[ANALYTIC_EVENT_TYPE]), target=site_name, id="own")
    exported = job.export_job(str(tmp_path / "jobs"))
    assert exported == tmp_path / "jobs" / "by_hand"
    result = job.simulator_run(str(tmp_path / "ws"), gpu="0")
    check(result, tmp_path / "ws", "by_hand", ["train", "train"])
    for site in ("site-1", "site-2"):
        assert result.receivers[f"{site}/own"].delivered == sum(KINDS.values())
