"""A job's choices about its best model and about single sites, followed from the job to the sites."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fedtrack.job import ScriptRunner
from fedtrack_local.models.params import load_params

from .conftest import MakeJob

#: The loss of the model that enters each round; that of round 0 does not count.
SCORED = """
flare.send(flare.FLModel(
    params={name: value + 1 for name, value in model.params.items()},
    metrics={"loss": [9.0, 3.0, 1.0, 2.0][model.current_round]},
))
continue
"""


@pytest.mark.parametrize(("mode", "best_round"), [("min", 2), ("max", 1)])
def test_best_model_has_the_least_or_the_most_of_the_key_metric(
    make_job: MakeJob, tmp_path: Path, mode: str, best_round: int
) -> None:
    job = make_job(SCORED, num_rounds=4, key_metric="loss", key_metric_mode=mode)
    result = job.simulator_run(tmp_path / "ws")
    assert (result.key_metric, result.best_round) == ("loss", best_round)
    best = load_params(result.folder / "app_server" / "best_FL_global_model.safetensors")
    np.testing.assert_array_equal(best["w"], np.full((2, 3), best_round, np.float32))


def test_a_site_that_imports_torch_by_way_of_another_module_takes_its_share_of_the_cores(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    see = """
    import os, pathlib
    pathlib.Path("threads").write_text(os.environ["OMP_NUM_THREADS"])
    """
    make_job(see, num_rounds=1).simulator_run(tmp_path / "ws")
    seen = (tmp_path / "ws" / "job" / "test-job" / "app_site-2" / "custom" / "threads").read_text()
    assert seen == str(max(1, (os.cpu_count() or 1) // 2))


def test_each_site_runs_its_own_script_with_its_own_arguments(make_job: MakeJob, tmp_path: Path) -> None:
    see = """
    import json, pathlib, sys
    name = pathlib.Path(sys.argv[0]).name
    pathlib.Path("seen.json").write_text(json.dumps([WHICH, name, *sys.argv[1:], sorted(flare.get_config())]))
    """
    make_job(see.replace("WHICH", "2"))
    (tmp_path / "client.py").rename(tmp_path / "other.py")
    job = make_job(see.replace("WHICH", "1"), n_clients=3)
    job.to(ScriptRunner("other.py", script_args="--lr 0.5 --note 'two words'", framework="numpy"), "site-2")
    job.to(ScriptRunner("client.py", script_args="--lr 0.1", framework="numpy"), "site-3")
    result = job.simulator_run(tmp_path / "ws")
    assert result.rounds[0].sites == ["site-1", "site-2", "site-3"]
    folder = tmp_path / "ws" / "job" / "test-job"
    seen = [json.loads((folder / f"app_site-{n}" / "custom" / "seen.json").read_text()) for n in (1, 2, 3)]
    config = ["n_sites", "script", "script_args", "site_index", "site_name"]
    assert seen == [
        [1, "client.py", config],
        [2, "other.py", "--lr", "0.5", "--note", "two words", config],
        [1, "client.py", "--lr", "0.1", config],
    ]
