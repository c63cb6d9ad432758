"""Two receivers of one kind in a job: each has every point once, in a folder of its own."""

from __future__ import annotations

import io
import sys
import threading
from importlib.metadata import distributions
from pathlib import Path

import pytest

from fedtrack.errors import JobError
from fedtrack.plugins.loader import load
from fedtrack_tensorboard import TBAnalyticsReceiver

from .conftest import MakeJob

pytestmark = pytest.mark.slow


def points(folder: Path) -> int:
    """Count the points of the training in event files, read by TensorBoard itself."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return len(found.Scalars("loss"))


def test_two_tensorboards_have_all_points_once_each(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(analytics_receiver=True)
    job.to_server(TBAnalyticsReceiver())
    result = job.simulator_run(tmp_path / "ws")
    folders = sorted(path.name for path in result.folder.glob("tb_events*"))
    assert folders == ["tb_events", "tb_events-component"]
    for folder in folders:
        assert points(result.folder / folder / "site-1") == 100
    assert {receiver.delivered for receiver in result.receivers.values()} == {result.receivers["receiver"].delivered}


@pytest.mark.parametrize(
    "answer",
    ["meta={'notes': 'x' * 1_100_000}", "metrics={f'metric-{n}': 1.0 for n in range(100_000)}"],
)
def test_what_is_too_large_for_a_message_is_named(make_job: MakeJob, tmp_path: Path, answer: str) -> None:
    train = f"flare.send(flare.FLModel(params=model.params, {answer}))"
    with pytest.raises(JobError, match=r"FLModel\.meta and metrics take \d,\d{3},\d{3} bytes, and a site can send"):
        make_job(train).simulator_run(tmp_path / "ws")


def test_threads_that_load_plugins_leave_standard_output_alone() -> None:
    before, ready, found = (
        sys.stdout,
        threading.Barrier(4),
        [
            (point, distribution)
            for distribution in distributions()
            for point in distribution.entry_points
            if point.group == "fedtrack"
        ],
    )

    def work() -> None:
        ready.wait()
        for _ in range(5):
            load(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is before
    assert not isinstance(sys.stdout, io.StringIO)
