"""The process of a site: a new child detaches itself from the fork server, then runs the script."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from fedtrack.client import backend as client_backend
from fedtrack_local.processes.command import die_with_parent, run_command
from fedtrack_local.processes.failure_report import report_exit, report_failure
from fedtrack_local.processes.messages import SiteSpec
from fedtrack_local.scripts.membership import publish
from fedtrack_local.scripts.site_backend import SiteBackend
from fedtrack_local.scripts.site_channel import SiteChannel
from fedtrack_local.source_file import run_script, search_first


def become_site(spec: SiteSpec, channel: int) -> NoReturn:
    """Turn this process into the site; never returns."""
    os.set_inheritable(channel, False)

    def run() -> int:
        publish(spec)
        if spec.external:
            return run_command(spec.name, command_line(spec), Connection(channel))
        return _run(spec, SiteChannel(spec, channel))

    lead_own_life(Path(spec.log), spec.environment, spec.custom, run)


def command_line(spec: SiteSpec) -> list[str]:
    """Return the command of a site with its script and arguments.

    A command that ends with ``-m`` and the script's own module, such as ``python3 -m package.client``, has the script.
    """
    script = Path(spec.script)
    if spec.external[-2:-1] == ["-m"]:
        module = Path(spec.custom, *spec.external[-1].split("."))
        own = module.with_suffix(".py") if module.name == script.stem else module / script.name
        if script.stem in (module.name, "__main__") and own.is_file():
            return [*spec.external, *spec.args]
    return [*spec.external, spec.script, *spec.args]


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
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _run(spec: SiteSpec, channel: SiteChannel) -> int:
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # the fork server's state is every site's state; ``random`` sees to that itself
    prepare(spec.threads)
    backend = SiteBackend(spec, channel)
    client_backend.use(backend)
    search_first(Path(spec.custom))
    code = 0
    try:
        run_script(Path(spec.script), spec.args)
    except SystemExit as exit_:
        code = report_exit(channel, exit_, spec.custom, hush=spec.terms is not None)
    except BaseException as error:
        code = 1
        report_failure(channel, error, spec.custom, hush=spec.terms is not None)
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
