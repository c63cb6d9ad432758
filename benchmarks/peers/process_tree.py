"""Process trees: a command is run and all its processes are measured, also those that outlive their parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep, time

_SAMPLE_SECONDS = 0.25
_LEAVE_SECONDS = 10.0
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True)
class Usage:
    """The time and the memory of a command.

    Attributes:
        began: Wall clock at its start, seconds since the epoch.
        wall: Seconds until the command itself had ended.
        cpu: Processor time of all its processes, seconds.
        peak: Largest memory of all its processes together, PSS in bytes.
    """

    began: float
    wall: float
    cpu: float
    peak: int


def measured(command: list[str], environment: Mapping[str, str], output: Path, timeout: float) -> Usage:
    """Run ``command`` to its end, and end the processes that it leaves running.

    Raises:
        CalledProcessError, TimeoutExpired: It failed, or did not end in time; ``output`` has its output.
    """
    # Orphans become children of this process, so that all of them are measured and ended.
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    before, began = _reaped(), time()
    watch = _Watch()
    started = monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=output.parent)
        with watch:
            try:
                status = process.wait(timeout)
                wall = monotonic() - started
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                _end_orphans()
    if status:
        raise subprocess.CalledProcessError(status, command)
    # The kernel does not add children's time to a parent that ignores their end; their last measured time counts.
    return Usage(began, wall, max(_reaped() - before, sum(watch.cpu.values())), watch.peak)


class _Watch:
    def __init__(self) -> None:
        self.peak = 0
        self.cpu: dict[int, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            total = 0
            for pid in descendants(os.getpid()):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    total += _pss(pid)
                    self.cpu[pid] = _cpu(pid)
            self.peak = max(self.peak, total)


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below ``pid``."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                yield child
                yield from descendants(child)


def _end_orphans() -> None:
    """Wait a while for the processes of the command that still run, then kill them."""
    deadline = monotonic() + _LEAVE_SECONDS
    while left := list(descendants(os.getpid())):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        sleep(0.05)


def _reaped() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
