"""ClientBackend: what the client API delegates to, one per process of a site."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Protocol

from fedtrack.client.fl_model import FLModel
from fedtrack.errors import ConfigError

#: Names the backend of a process that an engine started: ``module:function``, the function returns it.
BACKEND_VARIABLE = "FEDTRACK_CLIENT_BACKEND"


class ClientBackend(Protocol):
    """How a site's process talks to its server; an engine provides it."""

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
        """What the job says about this site's executor."""

    def is_running(self) -> bool:
        """Wait for the next task; False once there will be none."""

    def receive(self, timeout: float | None = None) -> FLModel | None:
        """Return the current task's model; None once there will be none, or after ``timeout`` seconds."""

    def send(self, model: FLModel) -> None:
        """Answer the current task."""

    def shutdown(self) -> None:
        """Take no further task."""


_current: ClientBackend | None = None


def use(backend: ClientBackend | None) -> None:
    """Make ``backend`` the one of this process; engines call this before they run a script."""
    global _current
    _current = backend


def current() -> ClientBackend:
    """Return this process's backend, creating it from the environment where an engine named it there.

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
