"""One file gives the same model as functions in shared processes and as a script in a process for each site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedtrack_examples
from fedtrack.job import ClientAppRunner, FedAvgJob, ScriptRunner
from fedtrack.runs.result import RunResult
from fedtrack_local.models.params import load_params

EXAMPLE = Path(fedtrack_examples.__file__).parent / "hello-virtual-sites"


def trained(runner: Any, workspace: Path) -> tuple[RunResult, dict[str, Any]]:
    job = FedAvgJob(
        name="virtual", n_clients=4, num_rounds=2, initial_model="model.py:SimpleNetwork", evaluate_final_model=True
    )
    job.to_clients(runner)
    result = job.simulator_run(workspace)
    return result, load_params(result.folder / "app_server" / "FL_global_model.safetensors")


@pytest.mark.timeout(250)
def test_functions_and_scripts_train_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    assert "torch" not in sys.modules  # or each run would need a server of its own
    functions, model = trained(ClientAppRunner("client.py", workers=2), tmp_path / "functions")
    scripts, expected = trained(ScriptRunner("client.py"), tmp_path / "scripts")
    assert list(model) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(model[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    assert functions.final_metrics == pytest.approx(scripts.final_metrics)
    assert functions.final_metrics["accuracy"] != functions.rounds[0].metrics["accuracy"]
    assert {name: site.journaled for name, site in functions.sites.items()} == {
        name: site.journaled for name, site in scripts.sites.items()
    }
    delivered = {name: receiver.delivered for name, receiver in functions.receivers.items()}
    assert delivered == {"receiver": sum(site.journaled for site in functions.sites.values())}
