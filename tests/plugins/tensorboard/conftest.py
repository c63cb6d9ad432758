"""What the tests of the TensorBoard plugin share: a run, a log to write into, and TensorBoard's own readers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from fedtrack import Batch, Receiver, RunInfo
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Record
from fedtrack.tracking.writer import bind

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


class TensorBoard:
    """A running ``tensorboard`` with its default data server, and the folder that it shows."""

    def __init__(self, logdir: Path, port: int) -> None:
        self.logdir = logdir
        self._url = f"http://127.0.0.1:{port}"

    def get(self, route: str, **query: object) -> Any:
        with urlopen(f"{self._url}/{route}?{urlencode(query)}", timeout=30) as reply:
            return json.load(reply)

    def post(self, route: str, body: object) -> Any:
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self._url}/{route}", json.dumps(body).encode(), headers)
        with urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def image(self, query: str) -> bytes:
        with urlopen(f"{self._url}/data/plugin/images/individualImage?{query}", timeout=30) as reply:
            data: bytes = reply.read()
            return data

    def until(self, ask: Callable[[], Any], expected: object, seconds: float = 30) -> None:
        """Ask again until the answer is the expected one: TensorBoard looks for new data once a second."""
        deadline = time.monotonic() + seconds
        while (answer := self.answer_of(ask)) != expected and time.monotonic() < deadline:
            time.sleep(0.2)
        assert answer == expected

    def scalars(self, run: str, tag: str) -> list[list[Any]]:
        points: list[list[Any]] = self.get("data/plugin/scalars/scalars", run=run, tag=tag)
        return points

    def answer_of(self, ask: Callable[[], Any]) -> Any:
        """Return the answer, or the error that the server gives instead of one."""
        try:
            return ask()
        except URLError as error:  # 404 until the run is found
            return error


@pytest.fixture(scope="session")
def tensorboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorBoard]:
    logdir = tmp_path_factory.mktemp("logdir")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--host", "127.0.0.1"]
    options = [
        "--port",
        str(port),
        "--reload_interval",
        "1",
        "--samples_per_plugin",
        "scalars=100000,images=100,text=100",
    ]
    with (logdir / "log.txt").open("wb") as log:
        process = subprocess.Popen(command + options, stdout=log, stderr=log)
    server = TensorBoard(logdir, port)
    try:
        deadline = time.monotonic() + 120
        while isinstance(server.answer_of(lambda: server.get("data/runs")), URLError):
            assert process.poll() is None, (logdir / "log.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait(30)
