"""A model that is already in a file is handed over as a link to that file; any other model is written."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fedtrack.errors import WorkspaceError
from fedtrack_local.models.model_link import copy_for, hand_over
from fedtrack_local.models.params import load_params, save_params

Params = dict[str, Any]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    params = {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.ones(3, ml_dtypes.bfloat16),
        "none": np.zeros((0, 4), np.float32),
        "bias": np.arange(6, dtype=np.float32).reshape(2, 3) + 6,
    }
    save_params(params, path)
    return path


def assert_same(path: Path, params: Params) -> None:
    loaded = load_params(path)
    assert list(loaded) == list(params)
    for name, array in params.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_mapped_model_gets_a_second_name(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "task"
    target.write_bytes(b"of the round before")
    hand_over(load_params(source), target)
    assert target.samefile(source)
    assert names(tmp_path) == ["model", "task"]


def test_a_file_without_tensors_is_written(tmp_path: Path) -> None:
    hand_over({}, tmp_path / "task")
    assert load_params(tmp_path / "task") == {}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p: p | {"bias": p["bias"] * 2}, id="another value"),
        pytest.param(lambda p: p | {"bias": p["weight"]}, id="another tensor of the file"),
        pytest.param(lambda p: p | {"weight": p["weight"].T}, id="transposed"),
        pytest.param(lambda p: p | {"weight": p["weight"].view(np.int32)}, id="another dtype"),
        pytest.param(lambda p: p | {"weight": p["weight"].reshape(3, 2)}, id="another shape"),
        pytest.param(lambda p: p | {"more": np.ones(1)}, id="one more"),
        pytest.param(lambda p: {name: p[name] for name in list(p)[:-1]}, id="one less"),
        pytest.param(lambda p: {name: p[name] for name in reversed(p)}, id="another order"),
        pytest.param(lambda p: {name.upper(): array for name, array in p.items()}, id="other names"),
        pytest.param(lambda p: {name: array.copy() for name, array in p.items()}, id="a copy"),
    ],
)
def test_anything_but_exactly_the_file_is_written(
    source: Path, tmp_path: Path, change: Callable[[Params], Params]
) -> None:
    params = change(load_params(source))
    hand_over(params, tmp_path / "task")
    assert not (tmp_path / "task").samefile(source)
    assert_same(tmp_path / "task", params)


def test_tensors_of_two_files_are_written(source: Path, tmp_path: Path) -> None:
    params = load_params(source)
    save_params({name: array + 1 for name, array in params.items()}, tmp_path / "other")
    mixed = params | {"bias": load_params(tmp_path / "other")["bias"]}
    hand_over(mixed, tmp_path / "task")
    assert_same(tmp_path / "task", mixed)


def test_a_model_whose_file_was_replaced_is_written(source: Path, tmp_path: Path) -> None:
    params = load_params(source)
    save_params({name: array + 1 for name, array in params.items()}, source)
    hand_over(params, tmp_path / "task")
    assert_same(tmp_path / "task", params)
    assert not (tmp_path / "task").samefile(source)
    assert names(tmp_path) == ["model", "task"]


def test_a_model_whose_file_is_gone_is_written(source: Path, tmp_path: Path) -> None:
    params = load_params(source)
    source.unlink()
    hand_over(params, tmp_path / "task")
    assert_same(tmp_path / "task", params)


def test_a_copy_is_a_file_of_its_own(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    (tmp_path / "task").write_bytes(b"of the round before")
    copy_for(source, tmp_path / "task")
    (tmp_path / "task").write_bytes(b"changed by its owner")
    assert source.read_bytes() == before
    assert names(tmp_path) == ["model", "task"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("place", [copy_for, lambda source, target: hand_over(load_params(source), target)])
def test_where_there_are_no_hard_links_models_are_copied(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    place: Callable[[Path, Path], None],
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)  # no file system here is without them
    source.chmod(0o644)
    place(source, tmp_path / "task")
    assert not (tmp_path / "task").samefile(source)
    assert_same(tmp_path / "task", load_params(source))
    assert stat.S_IMODE((tmp_path / "task").stat().st_mode) == 0o600
    assert names(tmp_path) == ["model", "task"]


def test_a_model_crosses_to_another_file_system(source: Path, other_file_system: Path) -> None:
    copy_for(source, other_file_system / "task")
    assert_same(other_file_system / "task", load_params(source))
    hand_over(load_params(source), other_file_system / "task-2")
    assert_same(other_file_system / "task-2", load_params(source))


def test_what_can_neither_be_linked_nor_copied_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"Cannot write the model .*task"):
        copy_for(tmp_path / "missing", tmp_path / "task")
    assert names(tmp_path) == []
