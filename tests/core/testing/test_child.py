"""The child process of the contract: what construction did is seen, and death is real."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from fedtrack.testing import run_info
from fedtrack.testing.child import construct, flush_and_die
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric


class Quiet(Receiver):
    """Touches nothing before it is opened, and writes when it is flushed."""

    name = "quiet"
    summary = "A double."
    supports = frozenset({Metric})
    requires = ("wave",)

    def open(self, run: RunInfo) -> None:
        self.run = run
        self.got: list[Any] = []

    def receive(self, batch: Batch) -> None:
        self.got += [(batch.site, seq, r.value) for seq, r in zip(batch.seqs, batch.records, strict=True)]  # type: ignore[union-attr]

    def flush(self) -> None:
        (self.run.folder / "got.json").write_text(json.dumps([self.run.run_id, self.got]))

    def close(self, status: str) -> None:
        (self.run.folder / "closed").touch()


class Loud(Quiet):
    """Loads its SDK and makes a file as soon as it is constructed."""

    name = "loud"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        import wave  # noqa: F401

        Path("made").touch()


class Broken(Quiet):
    name = "broken"

    def receive(self, batch: Batch) -> None:
        raise RuntimeError("no such table")


def test_constructing_a_receiver_that_waits_until_it_is_opened_does_nothing(tmp_path: Path) -> None:
    report = construct(Quiet(), tmp_path)
    assert (report.imported, report.touched) == ([], [])


def test_what_a_hasty_one_does_is_named(tmp_path: Path) -> None:
    report = construct(Loud(), tmp_path)
    assert report.imported == ["wave"]
    assert any(line.startswith("open ") and "made" in line for line in report.touched)
    assert (tmp_path / "made").exists()


def test_the_records_are_received_and_flushed_and_then_the_process_is_killed(tmp_path: Path) -> None:
    run = run_info(tmp_path, run_id="r1")
    ended = flush_and_die(Quiet(), run, [Metric(1, "loss", 0.5), Metric(2, "loss", 0.25)])
    assert ended.returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "got.json").read_text()) == ["r1", [[run.sites[0], 0, 0.5], [run.sites[0], 1, 0.25]]]
    assert not (tmp_path / "closed").exists()


def test_a_receiver_that_raises_is_shown_with_its_traceback(tmp_path: Path) -> None:
    ended = flush_and_die(Broken(), run_info(tmp_path), [Metric(1, "loss", 0.5)])
    assert ended.returncode == 1
    assert "RuntimeError: no such table" in ended.stderr


def test_a_class_inside_a_function_is_refused_with_the_remedy(tmp_path: Path) -> None:
    class Local(Quiet): ...

    with pytest.raises(AssertionError, match="define Local at the top level of its module"):
        construct(Local(), tmp_path)
