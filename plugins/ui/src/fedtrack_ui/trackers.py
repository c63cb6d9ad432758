"""Trackers: starts MLflow's or TensorBoard's own page over what a run's receivers have written."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedtrack.errors import ConfigError, PluginError
from fedtrack.runs import StoredRun

_NAMES = ("mlflow", "tensorboard")


@contextlib.contextmanager
def started_trackers(names: Sequence[str], runs: Sequence[StoredRun]) -> Iterator[dict[str, str]]:
    """Start trackers on free ports of this machine, and end them afterwards.

    Args:
        names: ``mlflow`` or ``tensorboard``.
        runs: The runs, newest first; the newest one that has files of a tracker is shown.

    Yields:
        The address of each, by name.

    Raises:
        ConfigError: A name is not known, or no run has files of it.
        PluginError: The tracker is not installed.
    """
    commands = {name: _command(name, runs) for name in names}
    with contextlib.ExitStack() as stack:
        found = {}
        for name, command in commands.items():
            port = _free_port()
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(_end, process)
            found[name] = f"http://127.0.0.1:{port}/"
        yield found


def _command(name: str, runs: Sequence[StoredRun]) -> list[str]:
    if name not in _NAMES:
        raise ConfigError(f"--open is {name!r}; valid are {' and '.join(_NAMES)}.")
    if importlib.util.find_spec(name) is None:
        raise PluginError(f"{name} is not installed here; install it with: pip install {name}")
    for run in runs:
        if name == "mlflow" and (database := run.folder / "mlflow.db").is_file():
            return [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{database}"]
        if name == "tensorboard" and (events := _event_folder(run.folder)) is not None:
            return [sys.executable, "-m", "tensorboard.main", "--logdir", str(events)]
    raise ConfigError(f"No run here has files of {name}; its receiver may write to a server, which `runs show` names.")


def _event_folder(folder: Path) -> Path | None:
    """Return the folder with TensorBoard's event files of a run."""
    found = next(folder.glob("*/*/events.out.tfevents.*"), None)
    return None if found is None else found.parent.parent


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
