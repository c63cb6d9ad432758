"""WatchedRun: each look shows what has arrived until then, and reads only what is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.runs import watched_run
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.watched_run import WatchedRun
from support.journaled import JournaledRun


def test_the_last_values_are_those_of_the_last_look(tmp_path: Path) -> None:
    made = JournaledRun(tmp_path)
    (tmp_path / "a" / made.folder.name).mkdir(parents=True)
    made.log_values("a", "loss", [3.0, 2.0])
    made.log_values("a", "acc", [0.5])
    watched = WatchedRun(StoredRun(tmp_path))
    first = watched.look()
    assert list(first.metrics["a"].items()) == [("loss", 2.0), ("acc", 0.5)]
    assert first.tally is not None
    assert first.tally.sites["a"].journaled == 3
    made.log_values("b", "loss", [7.0])
    made.log_values("a", "loss", [1.0])
    assert list(watched.look().metrics["a"].items()) == [("acc", 0.5), ("loss", 1.0)]  # the newest is the last one
    assert watched.look().metrics["b"] == {"loss": 7.0}


def test_of_a_long_run_only_the_newest_batches_are_read_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_run, "_FIRST_BATCHES", 2)
    made = JournaledRun(tmp_path)
    for site in ("a", "b", "c"):
        made.log_values(site, "loss", [1.0])
    watched = WatchedRun(StoredRun(tmp_path))
    assert watched.look().metrics.keys() == {"b", "c"}
    made.log_values("a", "loss", [2.0])
    assert watched.look().metrics["a"] == {"loss": 2.0}
