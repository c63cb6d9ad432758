"""SiteBackend: the client API of a script in a site's process, over the process's channel to the server."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fedtrack.client import FLModel
from fedtrack.errors import ConfigError
from fedtrack.spool import Spool, SpoolIdentity
from fedtrack.tracking import bind
from fedtrack_local.models.params import load_params, save_params
from fedtrack_local.processes.failure_report import report_uncaught
from fedtrack_local.processes.messages import (
    MAX_MESSAGE,
    EndRun,
    SendResult,
    SendTask,
    SiteLeft,
    SiteSpec,
    SkipTask,
    decode_to_site,
    encode,
)
from fedtrack_local.room import when_there_is_room

log = logging.getLogger(__name__)

#: Names of the files in a site's exchange folder.
TASK_FILE, RESULT_FILE = "task.safetensors", "result.safetensors"

#: Environment variables with an external process's SiteSpec and the descriptor of its channel.
SPEC_VARIABLE, CHANNEL_VARIABLE = "FEDTRACK_SITE_SPEC", "FEDTRACK_SITE_CHANNEL"


class SiteBackend:
    """The client API of one site's process; see ``fedtrack.client.backend.ClientBackend``."""

    def __init__(self, spec: SiteSpec, channel: Connection) -> None:
        self.site_name = spec.name
        self.job_id = spec.run_id
        self.config = spec.config
        self._framework = spec.framework
        self._exchange = Path(spec.exchange)
        self._channel = channel
        self._owner = os.getpid()
        self._task: SendTask | None = None
        self._shown = False  # whether is_running has returned True for the current task
        self._ended = False
        self.spool = Spool(
            Path(spec.spool),
            durability=spec.durability,
            limit_bytes=spec.spool_limit,
            identity=SpoolIdentity(spec.run_id, spec.name),
        )
        bind(self.spool)

    @property
    def task_name(self) -> str:
        """Name of the current task; "" between tasks."""
        return self._task.name if self._task else ""

    def is_running(self) -> bool:
        """Wait for the next task. If the script has not answered an optional task, that task is skipped."""
        if self._task is not None and self._task.optional and self._shown:
            # The script does not handle this task. Without SkipTask the server would wait until the timeout.
            self._skip(self._task)
        task = self._next_task(None)
        self._shown = True
        return task is not None

    def receive(self, timeout: float | None = None) -> FLModel | None:
        """Return the current task's model."""
        task = self._next_task(timeout)
        if task is None:
            return None
        self.spool.mark_round(task.current_round)
        # As in FLARE, a train task without a model has an empty one: the site begins with its own.
        params: dict[str, Any] | None = {} if task.name == "train" else None
        if task.has_params:
            params = load_params(self._exchange / TASK_FILE, self._framework)
        return FLModel(
            params=params,
            start_round=task.start_round,
            current_round=task.current_round,
            total_rounds=task.total_rounds,
            meta=task.meta,
        )

    def send(self, model: FLModel) -> None:
        """Answer the current task."""
        if not isinstance(model, FLModel):
            raise ConfigError(f"send() got a {type(model).__name__}; it takes a fedtrack.client.FLModel.")
        if self._task is None:
            raise ConfigError("send() was called without a task; call receive() first, and send() once per task.")
        if model.params is not None:
            params = model.params
            when_there_is_room(lambda: save_params(params, self._exchange / RESULT_FILE))
        params_type = model.params_type.value if model.params_type else None
        message = SendResult(
            self._task.task_id,
            model.params is not None,
            params_type,
            plain_metrics(model.metrics),
            plain_meta(model.meta),
        )
        self._post(message)
        self._task = None

    def shutdown(self) -> None:
        """Take no further task."""
        self._ended = True

    def leave(self) -> None:
        """Tell the server that the script has ended and how much it logged."""
        if os.getpid() != self._owner:
            return  # a child that the script forked has a stream of its own, and must not send the site's counts
        self.spool.close()
        try:
            self._post(SiteLeft(self.spool.stored, self.spool.dropped, self.spool.streams))
        except OSError:
            log.warning("the server is gone; what was logged is in %s", self.spool.folder)

    def _next_task(self, timeout: float | None) -> SendTask | None:
        while not self._ended and (self._task is None or self._is_given_up(self._task)):
            self._task, self._shown = None, False
            try:
                if timeout is not None and not self._channel.poll(timeout):
                    return None
                message = decode_to_site.decode(self._channel.recv_bytes())
            except (EOFError, ConnectionError):
                log.warning("the server is gone; leaving")
                self._ended = True
                return None
            if isinstance(message, EndRun):
                self._ended = True
                return None
            self._task = message
        return self._task

    def _is_given_up(self, task: SendTask) -> bool:
        """Return whether the server no longer waits for this optional task, because it has sent a newer message."""
        return task.optional and self._channel.poll()

    def _skip(self, task: SendTask) -> None:
        log.warning("the script did not answer the task %r; the server goes on without it", task.name)
        self._task = None
        with contextlib.suppress(OSError):  # the server has ended, which the next read reports
            self._post(SkipTask(task.task_id))

    def _post(self, message: msgspec.Struct) -> None:
        try:
            data = encode(message)
        except (TypeError, msgspec.MsgspecError) as error:
            raise ConfigError(f"FLModel.meta cannot be sent: {error}; use numbers, strings, lists and dicts.") from None
        if len(data) > MAX_MESSAGE:
            # The server reads no more from a site, because every site's message is in its memory.
            raise ConfigError(
                f"FLModel.meta and metrics take {len(data):,} bytes, and a site can send {MAX_MESSAGE:,} with a model; "
                "send arrays as params, and log values with a writer."
            )
        self._channel.send_bytes(data)


def plain_metrics(metrics: dict[str, Any] | None) -> dict[str, float] | None:
    """Return ``metrics`` as plain floats; scripts also pass numpy scalars and one-element tensors."""
    if metrics is None:
        return None
    found: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise ConfigError(f"FLModel.metrics[{name!r}] is a {type(value).__name__}; a metric is a number.") from None
    return found


def plain_meta(meta: dict[str, Any]) -> dict[str, Any]:
    """Return ``meta`` with plain numbers in the place of numpy scalars, which scripts often count steps with."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in meta.items()}


def from_environment() -> SiteBackend:
    """Join the job from an external process, with the environment variables that the pool has set."""
    spec = msgspec.json.decode(Path(os.environ[SPEC_VARIABLE]).read_bytes(), type=SiteSpec)
    channel = Connection(int(os.environ[CHANNEL_VARIABLE]))
    backend = SiteBackend(spec, channel)
    report_uncaught(channel, spec.custom)
    # Runs after the script's own exit handlers, which may still log: handlers run in reverse order.
    atexit.register(backend.leave)
    return backend
