"""Tensors of every precision, on every device, from a site's script to the model and the journal."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.runs.result import RunResult
from fedtrack_local.models.params import load_params
from fedtrack_tensorboard import TBAnalyticsReceiver

MODEL = """
import torch

def build():
    return {kind: torch.zeros(2, 3, dtype=getattr(torch, kind)) for kind in ("bfloat16", "float16", "float32")}
"""

CLIENT = """
import sys
import torch
import fedtrack.client as flare
from fedtrack.client.tracking import MLflowWriter, SummaryWriter, WandBWriter

device = sys.argv[1]
flare.init()
number = int(flare.get_site_name()[-1])
while flare.is_running():
    model = flare.receive()
    params = {}
    for kind, value in model.params.items():
        assert str(value.dtype) == f"torch.{kind}", (kind, value.dtype)
        assert value.tolist() == [[1.75 * model.current_round] * 3] * 2
        weight = value.to(device).requires_grad_()
        torch.optim.SGD([weight], lr=1.0).zero_grad()
        (weight * -number).sum().backward()
        params[kind] = weight.detach() - weight.grad
        one = torch.tensor(0.5, dtype=weight.dtype, device=device, requires_grad=True)
        step = torch.tensor(model.current_round, device=device)
        SummaryWriter().add_scalar(f"scalar/{kind}", one, step)
        MLflowWriter().log_metric(f"metric/{kind}", one.reshape(1, 1), step)
        WandBWriter().log({f"row/{kind}": one}, step)
        flare.log(f"log/{kind}", one, global_step=step)
        SummaryWriter().add_scalar(f"two/{kind}", torch.ones(2, device=device), step)
    metrics = {"accuracy": torch.tensor(0.25, device=device)}
    flare.send(flare.FLModel(params=params, metrics=metrics, meta={"NUM_STEPS_CURRENT_ROUND": 2 * number - 1}))
"""


def has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()  # asking torch would import it here


@pytest.mark.timeout(250)
@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not has_gpu(), reason="needs a CUDA device"))]
)
def test_tensors_travel_in_their_precision_from_their_device(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("client.py").write_text(CLIENT)
    Path("model.py").write_text(MODEL)
    job = FedAvgJob("model.py:build", n_clients=2, num_rounds=2, name="job", analytics_receiver=False)
    job.to_clients(ScriptRunner("client.py", script_args=device))
    job.to_server(TBAnalyticsReceiver(), id="tensorboard")
    result: RunResult = job.simulator_run(tmp_path / "ws", gpu="0" if device == "cuda" else None)
    assert result.status == "completed"
    # Site 1 adds 1 with weight 1, site 2 adds 2 with weight 3: 1.75 a round, exact in every precision.
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    for kind, dtype in (("bfloat16", ml_dtypes.bfloat16), ("float16", np.float16), ("float32", np.float32)):
        assert model[kind].dtype == dtype
        np.testing.assert_array_equal(model[kind], np.full((2, 3), 3.5, dtype))
    assert [item.metrics["accuracy"] for item in result.rounds] == [0.25, 0.25]
    for site in ("site-1", "site-2"):
        assert result.sites[site].journaled == 2 * 3 * 5
        assert result.sites[site].rejected == 2 * 3, "two elements are no scalar"
