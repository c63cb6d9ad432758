"""Every call of SummaryWriter, with good and with bad arguments."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from fedtrack.tracking.records import Histogram, Image, Metric, Param, Rejected, Text
from fedtrack_tensorboard import SummaryWriter

pytestmark = pytest.mark.torch


@pytest.fixture
def writer(record_log: Any) -> SummaryWriter:
    return SummaryWriter()


def decoded(record: Image, record_log: Any) -> Any:
    return PillowImage.open(io.BytesIO(record_log.blobs.read(record.data)))


def test_add_scalar_takes_flares_names(writer: SummaryWriter, record_log: Any) -> None:
    writer.add_scalar(tag="loss", scalar=torch.tensor(0.5), global_step=3)
    (record,) = record_log.records
    assert (record.key, record.value, record.step) == ("loss", 0.5, 3)


def test_a_wrong_keyword_is_an_error(writer: SummaryWriter) -> None:
    wrong: dict[str, Any] = {"step": 3}
    with pytest.raises(TypeError, match="step"):
        writer.add_scalar("loss", 0.5, **wrong)


@pytest.mark.parametrize("walltime", [0, 1.5, 1_700_000_000.123456, 1_763_000_000.9999998])
def test_a_walltime_comes_back_exactly(writer: SummaryWriter, record_log: Any, walltime: float) -> None:
    writer.add_scalar("loss", 1, walltime=walltime)
    assert record_log.records[0].time_ns / 10**9 == walltime


def test_add_scalars_is_one_write(writer: SummaryWriter, record_log: Any) -> None:
    writer.add_scalars("loss", {"train": 1, "test": np.float32(2)}, 4)
    assert [(r.key, r.value, r.step) for r in record_log.records] == [("loss/train", 1, 4), ("loss/test", 2, 4)]
    assert record_log.writes == 1


def test_add_text(writer: SummaryWriter, record_log: Any) -> None:
    writer.add_text("report", "*well*", 2)
    (record,) = record_log.records
    assert record == Text(record.time_ns, "report", "*well*", 2)


def test_add_hparams(writer: SummaryWriter, record_log: Any) -> None:
    writer.add_hparams({"lr": 0.1, "opt": "adam"}, {"accuracy": 0.9})
    assert [(type(r), r.key, r.value) for r in record_log.records] == [
        (Param, "lr", 0.1),
        (Param, "opt", "adam"),
        (Metric, "accuracy", 0.9),
    ]


def test_an_image_of_floats_is_the_image_that_torch_users_mean(writer: SummaryWriter, record_log: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    writer.add_image("whole", pixels, 1)
    writer.add_image("float", torch.tensor(pixels).float() / 255)
    writer.add_image("axes", pixels.transpose(1, 2, 0), dataformats="HWC")
    for record in record_log.records:
        assert np.array_equal(np.asarray(decoded(record, record_log)), pixels.transpose(1, 2, 0))
    assert record_log.records[0].step == 1


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_channels(writer: SummaryWriter, record_log: Any, channels: int, mode: str) -> None:
    writer.add_image("image", np.full((channels, 2, 3), 200, np.uint8))
    image = decoded(record_log.records[0], record_log)
    assert (image.mode, image.size) == (mode, (3, 2))
    assert image.getextrema() == ((200, 200) if channels == 1 else ((200, 200),) * channels)


def test_pixels_outside_the_range_are_clipped(writer: SummaryWriter, record_log: Any) -> None:
    writer.add_image("image", np.array([[-1.0, 0.5, 2.0, math.nan, math.inf]]), dataformats="HW")
    writer.add_image("image", np.array([[-1, 128, 300]]), dataformats="HW")
    writer.add_image("image", torch.tensor([[True, False]]), dataformats="hw")
    writer.add_image("image", torch.tensor([[1.0, 0.5]], dtype=torch.bfloat16), dataformats="HW")
    shown = [np.asarray(decoded(record, record_log)).tolist() for record in record_log.records]
    assert shown == [[[0, 127, 255, 0, 255]], [[0, 128, 255]], [[255, 0]], [[255, 127]]]


def test_a_histogram_counts_every_finite_value(writer: SummaryWriter, record_log: Any) -> None:
    writer.add_histogram("w", torch.tensor([[0.0, 1.0], [1.0, 4.0]]), 5, bins=4)
    writer.add_histogram("w", [0, 1, math.nan, math.inf], bins=[0.0, 1.0, 2.0])
    writer.add_histogram("w", torch.arange(100, dtype=torch.bfloat16), bins="tensorflow")
    writer.add_histogram("w", [0, 1, math.nan, -math.inf])
    first, second, third, fourth = record_log.records
    assert (fourth.edges[0], fourth.edges[-1], sum(fourth.counts)) == (0, 1, 2)
    assert first == Histogram(first.time_ns, "w", (0.0, 1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 0.0, 1.0), 5)
    assert (second.edges, second.counts) == ((0.0, 1.0, 2.0), (1.0, 1.0))
    assert (len(third.counts), sum(third.counts)) == (30, 100)


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no")

    def __float__(self) -> float:
        raise RuntimeError("no")


NONSENSE: list[Any] = [None, "words", object(), Hostile(), {}, [[1], [2, 3]], b"\0", 1j]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "call",
    [
        lambda writer, value: writer.add_scalar("x", value),
        lambda writer, value: writer.add_scalars("x", value) if value != {} else writer.add_scalars("x", [1]),
        lambda writer, value: writer.add_text("x", value) if not isinstance(value, str) else writer.add_text("x", 1),
        lambda writer, value: writer.add_image("x", value),
        lambda writer, value: writer.add_image("x", np.zeros((1, 2, 2)), dataformats=value),
        lambda writer, value: writer.add_histogram("x", value),
        lambda writer, value: writer.add_histogram("x", [1, 2], bins=value if value is not None else -1),
        lambda writer, value: writer.add_hparams(value if value != {} else 5, {}),
        lambda writer, value: writer.add_hparams({}, value if value != {} else 5),
        lambda writer, value: writer.add_scalar("x", 1, walltime=value if value is not None else -1),
        lambda writer, value: writer.add_scalar(value if not isinstance(value, str) else "", 1),
    ],
)
def test_nonsense_is_rejected_and_never_raises(writer: SummaryWriter, record_log: Any, call: Any, value: Any) -> None:
    call(writer, value)
    (record,) = record_log.records
    assert isinstance(record, Rejected)
    assert record.reason


@pytest.mark.parametrize("walltime", [math.nan, math.inf, 1e300, -1])
def test_no_walltime_stops_a_training(writer: SummaryWriter, record_log: Any, walltime: float) -> None:
    writer.add_scalar("x", 1, walltime=walltime)
    assert isinstance(record_log.records[0], Rejected)


@pytest.mark.parametrize("shape", [(5, 2, 2), (3, 0, 2), (2, 2), (1, 3, 2, 2)])
def test_what_is_no_image_is_rejected_with_its_shape(
    writer: SummaryWriter, record_log: Any, shape: tuple[int, ...]
) -> None:
    writer.add_image("x", np.zeros(shape))
    (record,) = record_log.records
    assert str(shape[-1]) in record.reason


def test_it_is_a_context_manager(record_log: Any) -> None:
    with SummaryWriter() as writer:
        writer.add_scalar("x", 1.0)
        writer.flush()
    assert len(record_log.records) == 1
