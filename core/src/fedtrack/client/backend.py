"""ClientBackend: the engine's side of the client API, one per process of a site."""

from __future__ import annotations

import os
from importlib import import_module
from inspect import signature
from typing import Any, Protocol

from fedtrack.client.fl_model import FLModel
from fedtrack.errors import ConfigError
from fedtrack.tracking.writer import when_unbound

#: The environment variable by which an engine names a process's backend: ``module:function``, which returns it.
BACKEND_VARIABLE = "FEDTRACK_CLIENT_BACKEND"


#: The environment variable by which an engine marks the processes of a site, and so those that they start.
SITE_VARIABLE = "FEDTRACK_SITE_PROCESS"


class ClientBackend(Protocol):
    """The connection of a site's process to its server; an engine provides it.

    A backend for distributed training also has ``take_rank(rank: int)``, which ``init(rank=...)`` calls. If the
    function that creates it has an argument ``rank``, it gets the rank before that, or None if the script gave none.
    """

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


def _join() -> None:
    """Let writers log in a process that a site's script has started, and that never calls ``init``."""
    if os.environ.get(BACKEND_VARIABLE):
        current()


when_unbound(_join)


def use(backend: ClientBackend | None) -> None:
    """Make ``backend`` this process's backend; engines call this before they run a script."""
    global _current
    _current = backend


def current(rank: int | None = None) -> ClientBackend:
    """Return this process's backend; if an engine named one in the environment, the first call creates it.

    Args:
        rank: The process's rank in distributed training, if the script gave one.

    Raises:
        ConfigError: The process was not started by a job.
    """
    if _current is None:
        name = os.environ.get(BACKEND_VARIABLE, "")
        if ":" not in name:
            raise ConfigError(
                "This process does not belong to a fedtrack job; start the script through a job "
                "(fedtrack run JOB, or python job.py). A launcher between the job and the script must pass on the "
                "environment variables whose names begin with FEDTRACK_."
            )
        module, _, function = name.partition(":")
        create = getattr(import_module(module), function)
        use(create(rank=rank) if "rank" in signature(create).parameters else create())
    assert _current is not None  # noqa: S101 - narrows the type; use() has just set it
    return _current
