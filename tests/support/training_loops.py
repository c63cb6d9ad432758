"""What tests of training loops share: a script outside of jobs, alone or connected, and what it has logged."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fedtrack
from fedtrack.spool.frames import FrameRange, split
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.tracking import writer
from fedtrack.tracking.records import Metric, Param, Record, Rejected, decode

EXAMPLES = Path(__file__).parents[2] / "examples" / "training-loops"

Logged = Callable[[], list[Record]]


@pytest.fixture(params=["alone", "connected"])
def logged(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    """Put the test outside of jobs; return a function that reads its records from the disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDTRACK_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(writer, "_connects", False)
    before = writer.bind(None)
    run = fedtrack.connect(tmp_path, site="hospital-a", run="study") if request.param == "connected" else None

    def read() -> list[Record]:
        folders = [run.spool] if run is not None else list((tmp_path / "runs").rglob("spool"))
        assert len(folders) == 1, folders
        return [record for folder in folders for record in records_in(folder)]

    yield read
    if run is not None:
        run.finish()
    writer.bind(before)


def records_in(folder: Path) -> list[Record]:
    """Return the records of a spool."""
    found: list[Record] = []
    for stream, segments in sorted(list_streams(folder).items()):
        for part in SpoolReader(stream).read(segments, ended=True):
            assert isinstance(part, FrameRange)
            found += [decode(payload) for _, payload in split(part.body)]  # type: ignore[misc]
    return found


def run_example(name: str) -> None:
    """Run a script of examples/training-loops."""
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def metrics(records: list[Record], key: str) -> list[tuple[int | None, float]]:
    """Return step and value of each record of a metric."""
    return [(record.step, record.value) for record in records if isinstance(record, Metric) and record.key == key]


def params(records: list[Record]) -> dict[str, object]:
    """Return the hyperparameters."""
    return {record.key: record.value for record in records if isinstance(record, Param)}


def rejected(records: list[Record]) -> list[str]:
    """Return the reasons of log calls that were refused."""
    return [f"{record.key}: {record.reason}" for record in records if isinstance(record, Rejected)]
