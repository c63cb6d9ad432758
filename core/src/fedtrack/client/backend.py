"""ClientBackend: the engine's side of the client API, one per process of a site."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Protocol

from fedtrack.client.fl_model import FLModel
from fedtrack.errors import ConfigError

#: The environment variable by which an engine names a process's backend: ``module:function``, which returns it.
BACKEND_VARIABLE = "FEDTRACK_CLIENT_BACKEND"


#: The environment variable by which an engine marks the processes of a site, and so those that they start.
SITE_VARIABLE = "FEDTRACK_SITE_PROCESS"


class ClientBackend(Protocol):
    """The connection of a site's process to its server; an engine provides it."""

    @property
    def site_name(self) -> str:
        """Name of this site."""

    @property
    def job_id(self) -> str:
        """The run's id."""

    @property
    def task_name(self) -> str:
        """Name of the current task; "" between tasks."""

    @property
    def config(self) -> dict[str, Any]:
        """The job's settings of this site's executor."""

    def is_running(self) -> bool:
        """Wait for the next task; return False if the job is over."""

    def receive(self, timeout: float | None = None) -> FLModel | None:
        """Return the current task's model; None if the job is over, or after ``timeout`` seconds."""

    def send(self, model: FLModel) -> None:
        """Answer the current task."""

    def shutdown(self) -> None:
        """Take no further task."""


_current: ClientBackend | None = None


def use(backend: ClientBackend | None) -> None:
    """Make ``backend`` this process's backend; engines call this before they run a script."""
    global _current
    _current = backend


def current() -> ClientBackend:
    """Return this process's backend; if an engine named one in the environment, the first call creates it.

    Raises:
        ConfigError: The process was not started by a job.
    """
    if _current is None:
        name = os.environ.get(BACKEND_VARIABLE, "")
        if ":" not in name:
            raise ConfigError(
                "This process does not belong to a fedtrack job; start the script through a job "
                "(fedtrack run JOB, or python job.py)."
            )
        module, _, function = name.partition(":")
        use(getattr(import_module(module), function)())
    assert _current is not None  # noqa: S101 - narrows the type; use() has just set it
    return _current
