"""Fixtures for tests of the TensorBoard plugin: a run, a record log, and TensorBoard's own readers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fedtrack import Batch, Receiver, RunInfo
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Record
from fedtrack.tracking.writer import bind
from support.tensorboard_server import TensorBoard, tensorboard

__all__ = ["TensorBoard", "tensorboard"]

STREAM = "0" * 32


class ListLog:
    """Keeps records in a list, call by call."""

    def __init__(self, folder: Path) -> None:
        self.blobs = BlobStore(folder)
        self.records: list[Record] = []
        self.writes = 0

    def append(self, record: Record) -> None:
        self.extend([record])

    def extend(self, records: Iterable[Record]) -> None:
        self.records.extend(records)
        self.writes += 1


@pytest.fixture
def record_log(tmp_path: Path) -> Iterator[ListLog]:
    log = ListLog(tmp_path / "blobs")
    previous = bind(log)
    yield log
    bind(previous)


@pytest.fixture
def run(tmp_path: Path) -> RunInfo:
    return make_run(tmp_path)


def make_run(folder: Path) -> RunInfo:
    return RunInfo("run-1", "job", folder, "server", ("site-1",), 1, BlobStore(folder / "blobs"))


@pytest.fixture
def feed() -> Callable[..., None]:
    def feed(
        receiver: Receiver, records: Sequence[Record], site: str = "site-1", first: int = 0, stream: str = STREAM
    ) -> None:
        receiver.receive(Batch(site, stream, range(first, first + len(records)), records))

    return feed


@pytest.fixture
def read_run() -> Callable[[Path], Any]:
    """TensorBoard's Python reader, without down-sampling."""

    def read_run(folder: Path) -> Any:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        kinds = ("scalars", "images", "histograms", "tensors")
        return EventAccumulator(str(folder), size_guidance=dict.fromkeys(kinds, 0)).Reload()

    return read_run
