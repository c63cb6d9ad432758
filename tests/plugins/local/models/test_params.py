"""Model files: saved parameters are loaded unchanged, and invalid files are refused."""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.errors import ModelError, WorkspaceError
from fedtrack_local.models.arrays import DTYPES, describe
from fedtrack_local.models.params import load_metadata, load_params, save_params


def model_file(path: Path, header: dict[str, Any] | bytes, data: bytes) -> Path:
    """Write a safetensors file by hand, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def entry(begin: int, end: int, dtype: str = "F32", shape: tuple[int, ...] = (2,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("code", DTYPES)
def test_every_dtype_comes_back_bit_for_bit(code: str, tmp_path: Path) -> None:
    dtype = DTYPES[code]
    params = {
        "matrix": np.arange(6).reshape(2, 3).astype(dtype),
        "scalar": np.array(1).astype(dtype),
        "empty": np.zeros((3, 0, 2), dtype),
    }
    save_params(params, tmp_path / "model")
    loaded = load_params(tmp_path / "model")
    for name, array in params.items():
        assert describe(loaded[name]) == describe(array)
        assert loaded[name].tobytes() == array.tobytes()


def test_tensors_keep_their_order_which_scripts_zip_with_layers(tmp_path: Path) -> None:
    params = {name: np.zeros(1, dtype) for name, dtype in (("z", "f4"), ("a", "i1"), ("m", "f8"))}
    save_params(params, tmp_path / "model")
    assert list(load_params(tmp_path / "model")) == ["z", "a", "m"]


def test_any_memory_layout_can_be_saved(tmp_path: Path) -> None:
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    params = {
        "transposed": base.T,
        "strided": base[:, ::2],
        "reversed": base[::-1],
        "fortran": np.asfortranarray(base),
        "big_endian": base.astype(">f4"),
        "shared": base[0],
        "number": np.float64(2.5),
    }
    save_params(params, tmp_path / "model")
    loaded = load_params(tmp_path / "model")
    for name, array in params.items():
        np.testing.assert_array_equal(loaded[name], array)
    assert loaded["number"].shape == ()


def test_arrays_are_mapped_and_read_only(tmp_path: Path) -> None:
    save_params({"w": np.ones(4, np.float32)}, tmp_path / "model")
    loaded = load_params(tmp_path / "model")["w"]
    with pytest.raises(ValueError, match="read-only"):
        loaded[0] = 2
    save_params({"w": np.zeros(4, np.float32)}, tmp_path / "model")
    np.testing.assert_array_equal(loaded, 1)  # the old file lives on under the mapping


def test_a_file_is_private_and_the_only_one_left(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        save_params({"w": np.ones(1)}, tmp_path / "model", durable=True)
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o600
    assert names(tmp_path) == ["model"]


def test_metadata_travels_with_the_file(tmp_path: Path) -> None:
    save_params({}, tmp_path / "model", {"k": "v"})
    assert load_params(tmp_path / "model") == {}
    assert load_metadata(tmp_path / "model") == {"k": "v"}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"w": 1.5}, r"'w' is a float; .*numpy arrays or torch tensors"),
        ({"w": [1.0, 2.0]}, "'w' is a list"),
        ({"w": None}, "'w' is a NoneType"),
        ({"w": np.array(["text"])}, "'w' has dtype str"),
        ({"w": np.array([object()])}, "'w' has dtype object; .*float32"),
        ({"w": np.zeros(1, np.complex128)}, "'w' has dtype complex128"),
        ({1: np.zeros(1)}, "named 1;"),
        ({"__metadata__": np.zeros(1)}, "named '__metadata__'"),
        ({"\ud800": np.zeros(1)}, "UTF-8 cannot encode"),
    ],
)
def test_what_is_no_tensor_is_refused_by_name_and_nothing_is_written(
    params: dict[Any, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=said):
        save_params(params, tmp_path / "model")
    assert names(tmp_path) == []


def test_a_file_that_cannot_be_written_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "nowhere" / "model", tmp_path / "taken"):
        with pytest.raises(WorkspaceError, match=f"Cannot write the model {path}"):
            save_params({"w": np.ones(1)}, path)
    assert names(tmp_path) == ["taken"]


def test_a_file_by_another_program_loads(tmp_path: Path) -> None:
    # Data that starts at an odd address and a header without metadata are both legal.
    path = model_file(tmp_path / "model", {"b": entry(0, 8), "a": entry(8, 16)}, struct.pack("<4f", 1, 2, 3, 4))
    loaded = load_params(path)
    assert {name: array.tolist() for name, array in loaded.items()} == {"b": [1, 2], "a": [3, 4]}


@pytest.mark.parametrize("order", ["[", '["w", "w"]', '["other"]', "{}", "null", "[[]]"])
def test_a_strange_order_is_ignored(order: str, tmp_path: Path) -> None:
    header = {"__metadata__": {"fedtrack.order": order}, "w": entry(0, 8)}
    assert list(load_params(model_file(tmp_path / "model", header, bytes(8)))) == ["w"]


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"w": entry(0, 8)}, bytes(7)),
        ({"w": entry(0, 8)}, bytes(9)),
        ({"w": entry(0, 4)}, bytes(4)),
        ({"w": entry(0, 8), "v": entry(4, 12)}, bytes(12)),
        ({"w": entry(0, 8), "v": entry(0, 8)}, bytes(8)),
        ({"w": entry(4, 12)}, bytes(12)),
        ({"w": entry(8, 0)}, bytes(8)),
        ({"w": entry(0, 8, shape=(2**62, 8))}, bytes(8)),
        ({"w": entry(0, 8, shape=(-1, -2))}, bytes(8)),
        ({"w": entry(0, 1, "F8_E8M0", (1,))}, bytes(1)),
        ({"w": entry(0, 8, "PICKLE")}, bytes(8)),
        ({"w": {"dtype": "F32"}}, b""),
        (b"not json", b""),
        (b'{"w": ', b""),
        (b"[]", b""),
        (b"\xff\xfe{}", b""),
        (b"[" * 100_000, b""),
    ],
)
@pytest.mark.parametrize("framework", ["numpy", "pytorch"])
@pytest.mark.threat("T6")
def test_a_damaged_or_hostile_file_is_refused(header: Any, data: bytes, framework: Any, tmp_path: Path) -> None:
    path = model_file(tmp_path / "model", header, data)
    with pytest.raises(ModelError, match=str(path)):
        load_params(path, framework)


@pytest.mark.parametrize("content", [b"", b"1234567", bytes(8), b"\xff" * 64, struct.pack("<Q", 2**40) + b"{}"])
def test_garbage_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ModelError, match="no usable model file"):
        load_params(tmp_path / "model")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    save_params({"w": np.ones(3, np.float32), "b": np.ones(1, np.int8)}, tmp_path / "model")
    whole = (tmp_path / "model").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "part").write_bytes(whole[:size])
        with pytest.raises(ModelError):
            load_params(tmp_path / "part")


def test_a_file_larger_than_allowed_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"garbage that would be refused for another reason")
    with pytest.raises(ModelError, match="has 48 bytes, more than the 47 that"):
        load_params(tmp_path / "model", max_bytes=47)
    save_params({"w": np.ones(1)}, tmp_path / "model")
    assert load_params(tmp_path / "model", max_bytes=10_000)["w"].tolist() == [1.0]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "missing", tmp_path / "fifo", tmp_path):
        with pytest.raises(ModelError, match="There is no model file"):
            load_params(path)
    with pytest.raises(ModelError, match="'jax'; valid are 'numpy' and 'pytorch'"):
        load_params(tmp_path, "jax")  # type: ignore[arg-type]


def test_no_framework_is_imported() -> None:
    code = (
        "import sys, fedtrack_local.averaging.aggregator, fedtrack_local.models.model_store\n"
        "print([name for name in ('torch', 'tensorflow', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
