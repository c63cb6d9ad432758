"""The process of a site: a new child detaches itself from the fork server, then runs the script."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import msgspec

from fedtrack.client import backend as client_backend
from fedtrack.errors import ConfigError
from fedtrack_local.processes.failure_report import report_exit, report_failure
from fedtrack_local.processes.messages import SiteSpec
from fedtrack_local.scripts.site_backend import CHANNEL_VARIABLE, SPEC_VARIABLE, SiteBackend

_BACKEND = "fedtrack_local.scripts.site_backend:from_environment"


def become_site(spec: SiteSpec, channel: int) -> NoReturn:
    """Turn this process into the site; never returns."""

    def run() -> int:
        if spec.external:
            _execute(spec, channel)
        return _run(spec, Connection(channel))

    lead_own_life(Path(spec.log), spec.environment, spec.custom, run)


def lead_own_life(log: Path, environment: dict[str, str], folder: str, run: Callable[[], int]) -> NoReturn:
    """Detach from the fork server, call ``run`` in ``folder``, and end with the status that it returns."""
    detach(log)
    os.environ.update(environment)
    os.environ[client_backend.SITE_VARIABLE] = "1"  # children that it starts must not take themselves for a lone script
    os.chdir(folder)
    code = 1
    try:
        code = run()
    except BaseException:  # such as a command of the job that does not exist
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # No interpreter shutdown: it would take seconds to free the objects of the fork server.
        os._exit(code)


def detach(log: Path) -> None:
    """Make this process a process group of its own, with a log file instead of the terminal."""
    os.setpgid(0, 0)  # so that one signal reaches every process that the script starts
    _die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _die_with_parent() -> None:
    """Ask the kernel to end this process when the fork server dies for any reason (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _execute(spec: SiteSpec, channel: int) -> NoReturn:
    path = Path(spec.spool).parent / "site_spec.json"
    path.write_bytes(msgspec.json.encode(spec))
    os.set_inheritable(channel, True)
    os.environ[client_backend.BACKEND_VARIABLE] = _BACKEND
    os.environ[SPEC_VARIABLE] = str(path)
    os.environ[CHANNEL_VARIABLE] = str(channel)
    command = [*spec.external, spec.script, *spec.args]
    try:
        os.execvp(command[0], command)  # noqa: S606 - the job's own command, no shell
    except OSError as error:
        raise ConfigError(
            f"{spec.name}: the command {command[0]!r} cannot be started: {error.strerror}; give ScriptRunner a command "
            "that this machine has."
        ) from None


def _run(spec: SiteSpec, channel: Connection) -> int:
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # the fork server's state is every site's state; ``random`` sees to that itself
    prepare(spec.threads)
    backend = SiteBackend(spec, channel)
    client_backend.use(backend)
    sys.argv = [spec.script, *spec.args]
    sys.path.insert(0, spec.custom)
    code = 0
    try:
        runpy.run_path(spec.script, run_name="__main__")
    except SystemExit as exit_:
        code = report_exit(channel, exit_, spec.custom)
    except BaseException as error:
        code = 1
        report_failure(channel, error, spec.custom)
    run_exit_handlers()
    backend.leave()
    return code


def prepare(threads: int) -> None:
    """Set the number of threads for tensor operations, and let logging print its messages."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    else:  # a script may import torch through another module
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)


def run_exit_handlers() -> None:
    """Join threads and call exit handlers, as the interpreter does at its end; both may still log."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
