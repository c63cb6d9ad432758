"""WandBWriter turns wandb.log's dicts into records."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, Record, Rejected, Text
from fedtrack.tracking.writer import bind
from fedtrack_wandb.writer import WandBWriter


class Records(list[Record]):
    """A spool in memory, which counts its writes."""

    def __init__(self, blobs: BlobStore) -> None:
        super().__init__()
        self.blobs = blobs
        self.writes = 0

    def append(self, record: Record) -> None:
        self.writes += 1
        super().append(record)

    def extend(self, records: Iterable[Record]) -> None:
        self.writes += 1
        super().extend(records)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    log = Records(BlobStore(tmp_path))
    previous = bind(log)
    yield log
    bind(previous)


def test_numbers_of_one_call_are_written_at_once(records: Records) -> None:
    WandBWriter().log({"loss": 0.5, "acc": 1}, 3)
    assert [(r.key, r.value, r.step) for r in records if isinstance(r, Metric)] == [
        ("loss", 0.5, 3),
        ("acc", 1.0, 3),
    ]
    assert len({record.time_ns for record in records}) == 1
    assert records.writes == 1


def test_step_is_a_keyword_too_and_optional(records: Records) -> None:
    writer = WandBWriter()
    writer.log({"a": 1}, step=2)
    writer.log({"a": math.nan})
    assert [r.step for r in records if isinstance(r, Metric)] == [2, None]


def test_nested_dicts_are_joined_with_dots(records: Records) -> None:
    WandBWriter().log({"val": {"loss": 1, "by class": {"cat": 2}}, "x": 3})
    assert [r.key for r in records if isinstance(r, Metric)] == ["val.loss", "val.by class.cat", "x"]


def test_text_is_text(records: Records) -> None:
    WandBWriter().log({"phase": "warm-up", "loss": 1.0}, 4)
    (text,) = (r for r in records if isinstance(r, Text))
    assert (text.key, text.text, text.step) == ("phase", "warm-up", 4)


@pytest.mark.parametrize("value", [None, object(), [1.0, 2.0], b"x"])
def test_a_bad_value_is_counted_and_the_others_are_logged(
    records: Records, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        WandBWriter().log({"bad": value, "good": 1.0, "nested": {3: 1.0}})
    assert [r.key for r in records if isinstance(r, Metric)] == ["good"]
    assert [r.key for r in records if isinstance(r, Rejected)] == ["'bad'", "3"]


def test_a_dict_that_contains_itself_is_rejected(records: Records) -> None:
    endless: dict[str, object] = {"a": 1.0}
    endless["self"] = endless
    WandBWriter().log(endless)
    assert sum(isinstance(r, Rejected) for r in records) == 1


def test_what_is_no_dict_is_rejected(records: Records) -> None:
    WandBWriter().log([1.0])  # type: ignore[arg-type]
    (record,) = records
    assert isinstance(record, Rejected)
    assert "takes a dict" in record.reason


def test_a_wrong_keyword_is_a_type_error(records: Records) -> None:
    with pytest.raises(TypeError, match="global_step"):
        WandBWriter().log({"a": 1.0}, global_step=1)  # type: ignore[call-arg]
    assert not records


def test_flush_and_finish_do_nothing(records: Records) -> None:
    writer = WandBWriter()
    writer.flush()
    writer.finish()
    assert not records
