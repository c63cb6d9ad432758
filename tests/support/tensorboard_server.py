"""A running TensorBoard with its default data server, for tests of its output."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest


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
