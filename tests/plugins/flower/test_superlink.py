"""fedtrack-flower on a real SuperLink with two SuperNodes: two apps are tracked to their end by ``fedtrack collect``.

One app is of Flower's message API, and one is as Flower's earlier quickstarts have it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="Flower has an environment of its own: make flower-env")
pytest.importorskip("flwr.supercore.task_identity", reason="the commands of earlier versions have other options")

from support.collector import CollectorProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # On a machine that is busy with other tests, Flower's own tokens expire before its processes have started.
    pytest.mark.skipif(os.environ.get("FEDTRACK_SOAK") != "1", reason="takes minutes: make soak"),
]

APPS = Path(__file__).parent / "apps"
RUNS = {"stock": 2, "messages": 1}


class Federation:
    """A SuperLink and two SuperNodes, with a Flower home of its own.

    Args:
        folder: A folder for the test.
        collector: The collector of their metrics.
        token: A token for all of their sites.
    """

    def __init__(self, folder: Path, collector: CollectorProcess, token: str) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        port, *nodes = free_ports(3)
        home = folder / "flwr"
        home.mkdir()
        (home / "config.toml").write_text(f'[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
        self._environment = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FEDTRACK_URL": collector.url,
            "FEDTRACK_TOKEN": token,
            "FEDTRACK_OUTBOX": str(folder / "outbox"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        options = ("--insecure", "--host=127.0.0.1")
        try:
            self._start("flower-superlink", *options, f"--port={port}", "--disable-runtime-dependency-installation")
            wait_until(lambda: answers(port), 90)
            for number, own in enumerate(nodes):
                config = f"partition-id={number} num-partitions=2"
                where = (f"--port={own}", f"--superlink=127.0.0.1:{port}")
                self._start("flower-supernode", *options, *where, "--node-config", config)
        except BaseException:
            print(self.said())
            self.close()
            raise

    def run(self, app: str) -> str:
        """Start an app, and return Flower's id of the run."""
        copy = self._folder / app
        shutil.copytree(APPS / app, copy)
        command = ["flwr", "run", str(copy), "here"]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120)
        found = re.search(r"run (\d+)", done.stdout)
        assert found, done.stdout + done.stderr + self.said()
        return found[1]

    def said(self) -> str:
        """Return what its processes have written."""
        return "".join(f"\n{path.name}:\n{path.read_text()[-3000:]}" for path in self._folder.glob("flower-*.log"))

    def close(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, *command: str) -> None:
        path = self._folder / f"{command[0]}-{len(self._processes)}.log"
        with path.open("wb") as output:
            started = subprocess.Popen(command, env=self._environment, stdout=output, stderr=output)
        self._processes.append(started)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_until(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorProcess]:
    found = CollectorProcess(tmp_path_factory.mktemp("collect"))
    found.start()
    yield found
    found.close()


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, collector: CollectorProcess) -> Iterator[Federation]:
    found = Federation(tmp_path_factory.mktemp("flower"), collector, collector.token("*"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def flower_runs(federation: Federation) -> dict[str, str]:
    """Both apps, at the same time."""
    return {app: federation.run(app) for app in RUNS}


@pytest.mark.parametrize("app", RUNS)
def test_an_app_is_tracked_in_mid_round(
    collector: CollectorProcess, federation: Federation, flower_runs: dict[str, str], app: str
) -> None:
    run, rounds = f"flower-{flower_runs[app]}", range(1, RUNS[app] + 1)

    def logged(site: str) -> dict[tuple[str, int, int], float]:
        """Return the values by key, round and step; a record of a metric is kind, time, key, value, step."""
        return {
            (key, round_, step): value
            for _, _, round_, _, _, key, value, step, *_ in collector.events(run).get(site, [])
        }

    try:
        wait_until(lambda: ("evaluate/accuracy", rounds[-1], rounds[-1]) in logged("serverapp"), 500)
        wait_until(
            lambda: all(("evaluate/accuracy", rounds[-1], rounds[-1]) in logged(f"node-{n}") for n in (0, 1)), 60
        )
    except AssertionError:
        pytest.fail(f"{collector.events(run)}{federation.said()}")
    for number in (0, 1):
        found = logged(f"node-{number}")
        for round_ in rounds:
            for step in range(20):
                assert found["loss", round_, step] == pytest.approx(number + 1 / (step + 1))
            assert found["train/train_loss", round_, round_] == number
    server = logged("serverapp")
    for round_ in rounds:
        assert server["train/asked", round_, round_] == server["train/answered", round_, round_] == 2
        assert server["evaluate/accuracy", round_, round_] == 0.5
