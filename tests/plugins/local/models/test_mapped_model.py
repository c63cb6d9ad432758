"""MappedModel: everybody gets the whole model, and what one does with it reaches nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fedtrack.errors import ModelError
from fedtrack_local.models import mapped_model
from fedtrack_local.models.mapped_model import MappedModel
from fedtrack_local.models.params import save_params

MODEL: dict[str, Any] = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([1.5, -2.0], ml_dtypes.bfloat16),
    "n": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.float32),
}


@pytest.fixture(params=["copied", "mapped"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file: of a model that counts as small, or as large."""
    if request.param == "mapped":
        monkeypatch.setattr(mapped_model, "COPIED", -1)
    save_params(MODEL, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def model(path: Path) -> Iterator[MappedModel]:
    with closing(MappedModel(path, "numpy")) as model:
        yield model


def test_tensors_come_as_they_were_saved_and_in_that_order(model: MappedModel) -> None:
    for found in (model.arrays, model.fresh()):
        assert list(found) == list(MODEL)
        for name, expected in MODEL.items():
            assert (found[name].dtype, found[name].shape) == (expected.dtype, expected.shape)
            assert found[name].tobytes() == expected.tobytes()


def test_what_one_user_changes_nobody_else_sees(path: Path, model: MappedModel) -> None:
    before = path.read_bytes()
    first, second = model.fresh(), model.fresh()
    first["b"] += 100
    first["n"][...] = 0
    assert second["b"].tolist() == model.arrays["b"].tolist() == MODEL["b"].tolist()
    assert model.fresh()["n"] == 7
    assert path.read_bytes() == before


def test_the_shared_arrays_cannot_be_written_to(model: MappedModel) -> None:
    with pytest.raises(ValueError, match="read-only"):
        model.arrays["b"][0, 0] = 1


def test_it_outlives_its_file_and_what_was_handed_out_outlives_it(path: Path, model: MappedModel) -> None:
    path.unlink()
    found = model.fresh()
    model.close()
    found["b"][0, 0] = 5
    assert found["b"].ravel().tolist() == [5, 1, 2, 3, 4, 5]


def test_tensors_need_torch_to_be_imported_by_the_script(path: Path) -> None:
    message = f"Loading {re.escape(str(path))} for PyTorch needs torch; import it, or use framework='numpy'"
    with pytest.raises(ModelError, match=message):
        MappedModel(path, "pytorch")


@pytest.mark.slow
@pytest.mark.torch
def test_tensors_are_free_to_be_changed_as_well(path: Path) -> None:
    torch = pytest.importorskip("torch")
    with closing(MappedModel(path, "pytorch")) as model:
        first, second = model.fresh(), model.fresh()
        assert (first["a"].dtype, first["empty"].shape, list(first)) == (torch.bfloat16, (0, 4), list(MODEL))
        first["b"].add_(100)
        assert second["b"].tolist() == model.fresh()["b"].tolist() == MODEL["b"].tolist()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\xff" * 64])
def test_a_file_that_is_no_model_is_an_error_with_its_path(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(f"{tmp_path / 'bad'} is no usable model file")):
        MappedModel(tmp_path / "bad", "numpy")
