"""The command of a site: a process that starts it, and stays until everything that the command started has ended.

Some launchers end before the training does (``nohup ... &``, ``setsid``). This process adopts what they leave behind.
So the site lives as long as its training, and ends with everything that belongs to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import NoReturn

from fedtrack.errors import ConfigError
from fedtrack_local.processes.descendants import descendants, signal_descendants
from fedtrack_local.processes.joining import CommandEnded
from fedtrack_local.processes.messages import encode

_SET_CHILD_SUBREAPER = 36
_SET_PARENT_DEATH_SIGNAL = 1

#: The status of a shell for a command that it cannot start.
_NOT_STARTED = 1


def run_command(site: str, command: list[str], channel: Connection) -> int:
    """Run the command of a site, and return its status when everything that it started has ended.

    If the command fails, what it has left running is killed. If it succeeds, the server is told, which may end the rest
    with SIGTERM.
    """
    _prctl(_SET_CHILD_SUBREAPER, 1)
    pid = os.fork()
    if pid == 0:
        _become(site, command)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    # The signal goes to every process of the site; this one waits for them.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    status = _wait_for(pid)
    if status != 0:
        _kill_rest()
        return _like(status)
    if descendants(os.getpid()):
        signal.signal(signal.SIGTERM, lambda number, frame: _kill_rest())
        with contextlib.suppress(OSError):
            channel.send_bytes(encode(CommandEnded()))
    _wait_for_rest()
    return 0


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends for any reason (Linux only)."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _become(site: str, command: list[str]) -> NoReturn:
    """Replace this new process by the command."""
    try:
        # A group of its own: a launcher that signals its whole group must not end the process that waits for it.
        os.setpgid(0, 0)
        die_with_parent()
        os.execvp(command[0], command)  # noqa: S606 - the job's own command, no shell
    except OSError as error:
        refusal = ConfigError(
            f"{site}: the command {command[0]!r} cannot be started: {error.strerror}; give ScriptRunner a command that "
            "this machine has."
        )
        traceback.print_exception(refusal)
    finally:
        sys.stderr.flush()
        os._exit(_NOT_STARTED)


def _wait_for(pid: int) -> int:
    while True:
        ended, status = os.waitpid(-1, 0)  # processes that were left behind by their parents end here, too
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _wait_for_rest() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _kill_rest() -> None:
    signal_descendants(os.getpid(), signal.SIGKILL)


def _like(status: int) -> int:
    """Return a status, or end this process by the signal that ended the command."""
    if status > 0:
        return status
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's own core file is the one to look at
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    os.kill(os.getpid(), -status)
    return 128 - status
