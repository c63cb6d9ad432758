"""Tensors that are averaged together have the same average as if each had been averaged alone."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fedtrack.client.fl_model import ParamsType
from fedtrack.errors import ModelError
from fedtrack_local.averaging import aggregator as aggregators
from fedtrack_local.averaging import bundles
from fedtrack_local.averaging.accumulators import PIECE
from fedtrack_local.averaging.aggregator import WeightedAggregator
from fedtrack_local.averaging.bundles import bundles_of
from fedtrack_local.averaging.partial_average import PartialAverage

DTYPES = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.uint8, np.bool_, np.complex64)
SHAPES = ((), (1,), (0, 3), (7,), (2, 3, 4), (bundles.SMALL,), (bundles.SMALL + 1,))


def model(seed: int) -> dict[str, Any]:
    """Return tensors of each dtype and shape, so ordered that those of a dtype are not neighbours."""
    rng = np.random.default_rng(seed)
    return {
        f"{np.dtype(dtype).name}/{shape}": np.asarray(rng.integers(0, 2 if dtype is np.bool_ else 9, shape), dtype)
        for shape in SHAPES
        for dtype in DTYPES
    }


def _average(reference: dict[str, Any], kind: ParamsType) -> tuple[dict[str, Any], PartialAverage]:
    aggregator = WeightedAggregator(reference)
    for seed in (1, 2):
        aggregator.accept(f"site-{seed}", model(seed), kind, float(seed))
    partial = aggregator.partial()
    for seed in (3, 4):
        aggregator.accept(f"site-{seed}", model(seed), kind, float(seed))
    aggregator.merge(partial, "another group")
    return aggregator.result(), partial


@pytest.mark.parametrize("kind", [ParamsType.FULL, ParamsType.DIFF])
def test_together_or_alone_the_bits_are_the_same(kind: ParamsType, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = model(0)
    together, partial = _average(reference, kind)
    monkeypatch.setattr(bundles, "SMALL", -1)
    assert len(bundles_of(reference)) == len(reference)
    alone, expected = _average(reference, kind)
    assert list(together) == list(alone) == list(reference) == list(partial.tensors)
    for name, array in alone.items():
        assert (together[name].dtype, together[name].shape) == (array.dtype, array.shape)
        assert together[name].tobytes() == array.tobytes(), name
        for mine, theirs in zip(partial.tensors[name], expected.tensors[name], strict=True):
            assert (mine.dtype, mine.shape, mine.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes()), name


@pytest.mark.parametrize("kind", [ParamsType.FULL, ParamsType.DIFF])
def test_read_once_or_twice_the_bits_are_the_same(kind: ParamsType, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = model(0)
    monkeypatch.setattr(aggregators, "_SMALL_MODEL", 2**30)
    once, _ = _average(reference, kind)
    monkeypatch.setattr(aggregators, "_SMALL_MODEL", -1)
    twice, _ = _average(reference, kind)
    assert {name: array.tobytes() for name, array in once.items()} == {
        name: array.tobytes() for name, array in twice.items()
    }


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64, np.complex64])
def test_no_tensor_of_a_model_that_is_read_once_is_larger_than_a_piece(dtype: type) -> None:
    """A larger one would be read to its end by the check, and not be there any more to be added."""
    size = PIECE * 4 // max(4, np.dtype(dtype).itemsize)
    for count in (size, size + 1):
        aggregator = WeightedAggregator({"w": np.zeros(count, dtype)})
        for value in (1, 3):
            aggregator.accept("site-1", {"w": np.full(count, value, dtype)}, ParamsType.FULL, 1.0)
        assert (aggregator.result()["w"] == 2).all()


def test_a_bundle_has_one_dtype_and_at_most_the_size_of_a_piece() -> None:
    reference = {f"{number}": np.zeros(5000, np.float32) for number in range(40)} | {"bias": np.zeros(3, np.float64)}
    sizes = [len(bundle.names) for bundle in bundles_of(reference)]
    assert sizes == [PIECE // 5000, PIECE // 5000, PIECE // 5000, 40 - 3 * (PIECE // 5000), 1]
    assert sorted(name for bundle in bundles_of(reference) for name in bundle.names) == sorted(reference)


def test_the_tensor_at_fault_is_named() -> None:
    reference = {name: np.zeros(4, np.float32) for name in "abc"}
    aggregator = WeightedAggregator(reference)
    bad = {**reference, "b": np.array([0, 1, np.nan, 3], np.float32)}
    with pytest.raises(ModelError, match=r"site-1: tensor 'b' holds nan"):
        aggregator.accept("site-1", bad, ParamsType.FULL, 1.0)
    assert aggregator.total_weight == 0


@pytest.mark.parametrize("size", [5, 3])
def test_a_partial_average_cut_elsewhere_is_refused(size: int) -> None:
    reference = {name: np.zeros(4, np.float32) for name in "ab"}
    other = PartialAverage(1.0, {"a": (np.zeros(size, np.float32),), "b": (np.zeros(8 - size, np.float32),)})
    with pytest.raises(ModelError, match=r"tensor 'a', 'b' of the partial average does not fit"):
        WeightedAggregator(reference).merge(other, "group 1")


def test_a_partial_average_of_another_dtype_is_refused() -> None:
    reference = {name: np.zeros(4, np.float64) for name in "ab"}
    other = PartialAverage(1.0, {"a": (np.zeros(4, np.float64),), "b": (np.zeros(4, np.float32),)})
    with pytest.raises(ModelError, match=r"of the partial average does not fit"):
        WeightedAggregator(reference).merge(other, "group 1")
