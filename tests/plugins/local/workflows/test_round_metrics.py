"""What a round gives to its run, on every engine, and what earlier versions kept of it."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path

import msgspec

from fedtrack.runs.result import RoundSummary
from fedtrack_local.server import read_rounds
from fedtrack_local.workflows.round_metrics import finite, round_metrics, summary_of
from fedtrack_local.workflows.workflow import RoundResult


def test_a_round_has_seconds_bytes_sites_and_steps() -> None:
    result = RoundSummary(3, {"accuracy": 0.5}, ["a", "b"], 1.5, 4_000, 100.0)
    assert round_metrics(result) == {
        "round/seconds": 1.5,
        "round/bytes": 4_000.0,
        "round/sites": 2.0,
        "round/steps": 100.0,
    }
    assert "round/steps" not in round_metrics(msgspec.structs.replace(result, steps=None))


def test_what_json_cannot_hold_is_none() -> None:
    assert finite({"a": 1.0, "b": nan, "c": inf, "d": None}) == {"a": 1.0, "b": None, "c": None, "d": None}


def test_rounds_that_an_earlier_version_kept_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rounds.msgpack"
    assert read_rounds(path) == []
    old = {"current_round": 0, "metrics": {"a": 0.5}, "sites": ["x"], "seconds": 1.0, "size": 12}
    path.write_bytes(msgspec.msgpack.encode([old]))
    assert read_rounds(path) == [RoundResult(0, {"a": 0.5}, ("x",), 1.0, 12)]
    path.write_bytes(msgspec.msgpack.encode(read_rounds(path)))
    assert summary_of(*read_rounds(path)) == RoundSummary(0, {"a": 0.5}, ["x"], 1.0, 12)
