"""Agent lock: whether a run has an agent, and how it gets one. Training imports this, and not what an agent needs."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from fedtrack.connection.outbox import RunBox

log = logging.getLogger(__name__)

#: Seconds that a new agent waits for the lock of one that is about to end.
_TURN_SECONDS = 5.0


def is_running(box: RunBox) -> bool:
    """Return whether an agent ships the run."""
    try:
        descriptor = os.open(box.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def start(box: RunBox) -> subprocess.Popen[bytes] | None:
    """Start an agent for the run if there is none; None if there is one, or it cannot be started now."""
    if is_running(box):
        return None
    # -P: a file beside the training must not be taken for a module of the agent's.
    command = [sys.executable, "-P", "-m", "fedtrack.connection.agent", str(box.folder)]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:  # no memory, no more processes: the training looks again in a second
        log.warning("the agent for %s cannot be started: %s", box.folder, error)
        return None


@contextlib.contextmanager
def turn(lock: Path) -> Iterator[bool]:
    """Hold the lock; yields False if another agent keeps it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        until = monotonic() + _TURN_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if monotonic() >= until:
                    yield False
                    return
                sleep(0.1)
            else:
                break
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield True
    finally:
        os.close(descriptor)
