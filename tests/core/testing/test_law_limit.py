"""A receiver that hangs fails its law with the name of the law and the place, also if it cannot be interrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONTRACT = """
import ctypes, time
from fedtrack.testing import MemoryReceiver, ReceiverContract, law_limit

law_limit.GRACE_SECONDS = 3.0

class Hanging(MemoryReceiver):
    def flush(self):
        HANG

class TestHanging(ReceiverContract):
    law_seconds = 2.0
    survives_kill = False

    def make_receiver(self):
        return Hanging()

    def read(self, folder):
        return []
"""


def check(hang: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "test_hanging.py").write_text(CONTRACT.replace("HANG", hang))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "adopts or close_runs",
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("hang", ["time.sleep(600)", "while True: pass"])
def test_a_receiver_that_hangs_fails_its_law_and_the_next_laws_are_checked(hang: str, tmp_path: Path) -> None:
    ended = check(hang, tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert "FAILED test_hanging.py::TestHanging::test_a_second_receiver_adopts_the_run - " in ended.stdout
    assert "OutOfTime: it took longer than 2 s" in ended.stdout
    assert "test_hanging.py:9: " in ended.stdout
    assert "1 failed, 1 passed" in ended.stdout


def test_a_receiver_that_holds_the_interpreters_lock_is_named_with_its_law(tmp_path: Path) -> None:
    ended = check(
        "c, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)\n"
        "        [c.pthread_mutex_lock(mutex) for _ in range(2)]",
        tmp_path,
    )
    assert ended.returncode == -6
    assert "The law test_a_second_receiver_adopts_the_run did not end in 5 s" in ended.stderr
    assert "in flush" in ended.stderr
    assert f'File "{tmp_path / "test_hanging.py"}", line 10' in ended.stderr
