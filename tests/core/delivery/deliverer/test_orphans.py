"""A deliverer whose server was killed ends by itself, and another server goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.deliverers import Node
from support.delivering import until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("misbehaving"), pytest.mark.timeout(300)]

SERVER = """
import json, sys, time
from pathlib import Path
from support.deliverers import Node
node = Node(Path(sys.argv[1]), bad=json.loads(sys.argv[2]))
node.host.start()
node.log(50)
while not node.got("healthy") or not node.supervisor._workers:
    time.sleep(0.02)
print(node.supervisor._workers[0].pid, flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("how", ["", "hang", "spin", "lock"])
def test_nothing_is_left_of_a_killed_server_and_nothing_is_lost(tmp_path: Path, how: str) -> None:
    fault = f'{{"where": "flush", "how": "{how}", "times": 1}}' if how else "{}"
    tests = str(Path(__file__).parents[3])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], tests])}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), fault], stdout=subprocess.PIPE, text=True, env=env
    )
    assert server.stdout is not None
    deliverer = int(server.stdout.readline())
    server.kill()
    server.wait()
    server.stdout.close()
    node = Node(tmp_path)  # it waits for the lock of the ledger
    until(lambda: not alive(deliverer), 30)
    node.host.start()
    reports = node.finish(60.0)
    assert (reports["healthy"].delivered, reports["healthy"].pending) == (50, 0)
    assert node.got("healthy") == [float(value) for value in range(50)]


def test_signals_for_the_whole_job_do_not_end_a_deliverer_before_it_has_everything(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.host.start()
    node.log(50)
    until(lambda: bool(node.got("healthy")), 60)
    for worker in node.supervisor._workers:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker.pid, number)
        pid = worker.pid
    node.log(50)
    until(lambda: len(node.got("healthy")) == 100, 60)
    assert [worker.pid for worker in node.supervisor._workers] == [pid]
    assert node.finish()["healthy"].pending == 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
