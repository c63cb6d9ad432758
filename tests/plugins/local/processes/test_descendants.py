"""The processes below one, wherever in sessions and groups they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from time import monotonic, sleep

from fedtrack_local.processes.descendants import descendants, signal_descendants

TREE = """
import subprocess, sys, time
one = subprocess.Popen(["setsid", "sh", "-c", "sleep 600; true"])
print(one.pid, flush=True)
time.sleep(600)
"""


def test_everything_below_is_found_and_nothing_else() -> None:
    with subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shell = int(process.stdout.readline())
        deadline = monotonic() + 10
        while len(found := descendants(process.pid)) < 2:
            assert monotonic() < deadline
            sleep(0.01)
        assert found[0] == shell
        assert os.getpid() not in found
        signal_descendants(process.pid, signal.SIGKILL)
        while descendants(process.pid):
            assert monotonic() < deadline
            sleep(0.01)
        assert process.poll() is None  # itself is not below itself
        process.kill()
