"""Spool.note: a control record between log calls is stored, and changes no count of calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.spool import frames
from fedtrack.spool.shared import SharedSpool
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Direction
from fedtrack.tracking.writer import Writer
from fedtrack_wandb.writer import WandBWriter
from support.spooled import Put, Read, metric

LOWER = Direction(1, "loss", "lower")


def test_a_control_record_is_in_the_stream_and_is_no_log_call(put: Put, tmp_path: Path, read_spool: Read) -> None:
    spool = Spool(tmp_path)
    spool.mark_round(2)
    put(spool, metric(1))
    assert spool.note(LOWER)
    put(spool, metric(2))
    assert (spool.stored, spool.dropped, spool.position) == (2, 0, (spool.stream, 3))
    (records,) = read_spool(tmp_path).values()
    assert [type(record).__name__ for _, record in records] == ["Metric", "Direction", "Metric"]


def test_one_that_finds_no_room_is_no_lost_log_call(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert not spool.note(Direction(1, "x" * frames.MAX_PAYLOAD, "lower"))
    assert (spool.stored, spool.dropped) == (0, 0)


def test_a_site_of_a_shared_spool_says_it_for_itself(tmp_path: Path, read_spool: Read) -> None:
    spool = SharedSpool(tmp_path)
    spool.enter("a", 0)
    Writer(spool).record_direction("loss", "lower")
    spool.append(metric(1))
    assert spool.take_counts() == {"a": 1}


@pytest.mark.parametrize("step_again", [False, True])
def test_a_writer_says_a_direction_also_if_its_steps_are_continued(
    tmp_path: Path, read_spool: Read, step_again: bool
) -> None:
    writer = WandBWriter(Spool(tmp_path))
    if step_again:
        writer.continue_steps()
    writer.record_direction("loss", "lower")
    writer.define_metric("acc", goal="maximize")
    (records,) = read_spool(tmp_path).values()
    said = [(record.key, record.better) for _, record in records if isinstance(record, Direction)]
    assert said == [("loss", "lower"), ("acc", "higher")]


@pytest.mark.parametrize(("key", "better"), [("loss", "max"), ("", "lower"), (3, "higher")])
def test_a_direction_that_is_none_is_an_error(tmp_path: Path, key: str, better: str) -> None:
    with pytest.raises(ConfigError, match="direction"):
        Writer(Spool(tmp_path)).record_direction(key, better)
