"""Unreadable: another process of the same user cannot read what this one has in its environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import os, pathlib, subprocess, sys
import fedtrack.unreadable as unreadable
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    # The change of the user has set it already.
    import ctypes; ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
look = f"cat /proc/{os.getpid()}/environ"
def seen():
    return b"canary" in subprocess.run(["sh", "-c", look], env={"PATH": os.environ["PATH"]}, capture_output=True).stdout
before = seen()
with unreadable.unreadable():
    within = seen()
print(before, within, seen(), unreadable.become_unreadable(), seen())
"""


@pytest.mark.threat("T9")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has the switch")
def test_the_environment_is_kept_from_processes_of_the_same_user() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | {"CANARY": "canary-1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["True", "False", "True", "1", "False"], done.stderr
