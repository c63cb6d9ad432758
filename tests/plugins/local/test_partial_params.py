"""Jobs whose sites leave tensors out, in processes of their own and in shared ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.errors import JobError
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack_local.models.params import load_params

from .conftest import MakeJob

CLIENT = """
import numpy as np
import fedtrack.client as flare

flare.init()
while flare.is_running():
    model = flare.receive()
    assert float(model.params["base"][0]) == 7.0 if model.params else model.params == {}
    flare.send(flare.FLModel(params=PARAMS, meta={"NUM_STEPS_CURRENT_ROUND": np.int64(2)}))
"""


def make(sent: str, **settings: Any) -> FedAvgJob:
    Path("client.py").write_text(CLIENT.replace("PARAMS", sent))
    start = {"base": np.full(3, 7.0, np.float32), "lora": np.zeros(2, np.float32)}
    job = FedAvgJob(**{"initial_model": start, "n_clients": 2, "num_rounds": 2, "name": "parts"} | settings)
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    return job


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("params", ["partial", ["lora"], ["lo*"]])
def test_what_sites_leave_out_stays_the_global_value(params: Any, tmp_path: Path) -> None:
    job = make("{'lora': model.params['lora'] + 1}", params=params, analytics_receiver=False)
    result = job.simulator_run(tmp_path / "ws")
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    assert (model["base"].tolist(), model["lora"].tolist()) == ([7.0] * 3, [2.0] * 2)
    assert [found.steps for found in result.rounds] == [4.0, 4.0]  # numpy's integers count


def test_what_is_missing_is_named_where_it_is_not_allowed(tmp_path: Path) -> None:
    job = make("{'lora': model.params['lora'] + 1}", analytics_receiver=False)
    with pytest.raises(JobError) as caught:
        job.simulator_run(tmp_path / "ws")
    message = str(caught.value)
    assert message.count("site-1") + message.count("site-2") == 1
    assert "the result lacks 'base' and has unexpected nothing" in message
    assert "or let the job say FedAvg(params='partial')" in message
    assert ".." not in message


def test_a_train_task_without_a_model_has_an_empty_one(tmp_path: Path) -> None:
    job = make("{'lora': np.ones(2, np.float32)}", initial_model=None, num_rounds=1, analytics_receiver=False)
    result = job.simulator_run(tmp_path / "ws")
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    assert model["lora"].tolist() == [1.0, 1.0]


def test_virtual_sites_leave_tensors_out_too(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = "return FLModel(params={'w': model.params['w'] + 1})"
    result = make_virtual_job(train, params="partial").simulator_run(tmp_path / "ws")
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    np.testing.assert_array_equal(model["w"], np.full((2, 3), 2.0, np.float32))
    assert model["n"] == 0
