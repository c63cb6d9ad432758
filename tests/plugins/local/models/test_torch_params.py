"""A real PyTorch model through the file, the average and back; the one test module here that imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedtrack.client.fl_model import ParamsType
from fedtrack.errors import ModelError
from fedtrack_local.averaging.aggregator import WeightedAggregator
from fedtrack_local.models.params import load_params, save_params

pytestmark = pytest.mark.torch

State = dict[str, torch.Tensor]


def network(seed: int, dtype: torch.dtype) -> nn.Module:
    """Return a small CNN with BatchNorm after ``seed`` batches, so that every site has counted another number."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 10))
    for _ in range(seed):
        model(torch.randn(2, 3, 8, 8))
    return model.to(dtype)


def averaged(states: list[State], weights: list[float]) -> State:
    """FedAvg in torch, in float64."""
    return {
        name: sum(
            (state[name].double() * weight for state, weight in zip(states, weights, strict=True)), torch.zeros(())
        )
        / sum(weights)
        for name in states[0]
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("params_type", ParamsType)
def test_a_cnn_is_averaged_as_torch_would(dtype: torch.dtype, params_type: ParamsType, tmp_path: Path) -> None:
    weights = [100.0, 300.0, 50.0]
    received = network(1, dtype).state_dict()
    states = [network(seed, dtype).state_dict() for seed in (2, 3, 6)]
    save_params(received, tmp_path / "global")
    aggregator = WeightedAggregator(load_params(tmp_path / "global"))
    for number, (state, weight) in enumerate(zip(states, weights, strict=True)):
        sent = state
        if params_type is ParamsType.DIFF:
            sent = {name: value - received[name] for name, value in state.items()}
        save_params(sent, tmp_path / f"site-{number}")
        aggregator.accept(f"site-{number}", load_params(tmp_path / f"site-{number}"), params_type, weight)
    save_params(aggregator.result(), tmp_path / "next")

    model = network(0, dtype)
    model.load_state_dict(load_params(tmp_path / "next", "pytorch"), strict=True)
    expected = averaged(states, weights)
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            # (2 * 100 + 3 * 300 + 6 * 50) / 450 = 3.1
            assert value.item() == 3
        else:
            bound = 4 * torch.finfo(dtype).eps * max(1.0, float(expected[name].abs().max()))
            torch.testing.assert_close(value.double(), expected[name], rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_state_dict_comes_back_bit_for_bit_and_in_order(dtype: torch.dtype, tmp_path: Path) -> None:
    state = network(2, dtype).state_dict()
    save_params(state, tmp_path / "model")
    loaded = load_params(tmp_path / "model", "pytorch")
    assert list(loaded) == list(state)
    for name, value in state.items():
        assert (loaded[name].dtype, loaded[name].shape) == (value.dtype, value.shape)
        assert torch.equal(loaded[name], value)


def test_loaded_tensors_can_be_modified_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    save_params({"w": torch.zeros(5000), "n": torch.tensor(3)}, tmp_path / "model")
    loaded = load_params(tmp_path / "model", "pytorch")
    for tensor in loaded.values():
        tensor.add_(1)
    loaded["w"].requires_grad_().sum().backward()
    (tmp_path / "model").rename(tmp_path / "moved")
    again = load_params(tmp_path / "moved", "pytorch")
    assert again["w"].sum().item() == 0
    assert again["n"].item() == 3
    assert loaded["w"].sum().item() == 5000


def test_any_dense_tensor_can_be_saved(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tied = nn.Parameter(base)
    params: dict[str, Any] = {
        "parameter": nn.Parameter(torch.ones(2, requires_grad=True) * 2),
        "tied": tied,
        "tied_too": tied,
        "view": base[1],
        "transposed": base.T,
        "expanded": torch.ones(1).expand(3),
        "channels_last": torch.arange(16.0).reshape(1, 2, 2, 4).to(memory_format=torch.channels_last),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "float8": torch.ones(3).to(torch.float8_e5m2),
        "flag": torch.tensor(True),
        "half": torch.tensor(0.5, dtype=torch.float16),
        "empty": torch.empty(0, 3),
        "array": np.ones(2),
    }
    save_params(params, tmp_path / "model")
    loaded = load_params(tmp_path / "model", "pytorch")
    for name, value in params.items():
        expected = torch.as_tensor(value).detach()
        assert loaded[name].dtype == expected.dtype
        assert loaded[name].shape == expected.shape
        assert torch.equal(loaded[name].to(torch.complex64), expected.to(torch.complex64)), name
    arrays = load_params(tmp_path / "model")
    np.testing.assert_array_equal(arrays["transposed"], base.T.numpy())


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.ones(2).to_sparse(), "torch.sparse_coo tensor; only dense"),
        (torch.empty(2, device="meta"), "meta tensor"),
        (torch.ones(2, dtype=torch.complex128), "dtype complex128; a model can hold"),
        (nn.Linear(1, 1), "'w' is a Linear"),
    ],
)
def test_what_is_no_dense_tensor_is_refused(tensor: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        save_params({"w": tensor}, tmp_path / "model")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_tensor_on_an_accelerator_is_copied(tmp_path: Path) -> None:
    save_params({"w": torch.ones(3, device="cuda").T}, tmp_path / "model")
    assert load_params(tmp_path / "model", "pytorch")["w"].tolist() == [1.0, 1.0, 1.0]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    save_params({"w": torch.ones(3)}, tmp_path / "model")
    with (tmp_path / "model").open("r+b") as file:
        file.truncate(20)
    with pytest.raises(ModelError, match="no usable model file"):
        load_params(tmp_path / "model", "pytorch")
