"""SiteBackend: the client API of a script in a site's process, over the process's channel to the server."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import numpy as np

from fedtrack.client import FLModel
from fedtrack.errors import ConfigError
from fedtrack.spool import Spool, SpoolIdentity
from fedtrack.tracking import bind
from fedtrack_local.models.handed_model import hand, path_of
from fedtrack_local.models.params import load_params
from fedtrack_local.processes.failure_report import hushed
from fedtrack_local.processes.joining import Next
from fedtrack_local.processes.messages import (
    MAX_MESSAGE,
    EndRun,
    SendResult,
    SendTask,
    SiteFailed,
    SiteLeft,
    SiteSpec,
    SkipTask,
    decode_to_site,
    encode,
)
from fedtrack_local.room import when_there_is_room
from fedtrack_local.scripts.ranks import default_rank
from fedtrack_local.scripts.site_channel import SiteChannel, identity_of

log = logging.getLogger(__name__)

#: Name of the file in a site's exchange folder for a result that is too large for the memory.
RESULT_FILE = "result.safetensors"


class SiteBackend:
    """The client API of one of a site's processes; see ``fedtrack.client.backend.ClientBackend``.

    Rank 0 gets the tasks and answers them. Every other rank is given the same tasks with the same models, and what it
    sends is ignored. A process takes part when it first asks for a task; until then it only logs, as every process that
    the script starts can.

    Args:
        spec: The site.
        channel: The process's connection to the server.
    """

    def __init__(self, spec: SiteSpec, channel: SiteChannel) -> None:
        self.site_name = spec.name
        self.job_id = spec.run_id
        self.config = spec.config
        self._framework = spec.framework
        self._exchange = Path(spec.exchange)
        self._memory = spec.memory
        self._channel = channel
        self._rank = default_rank()
        self._owner = os.getpid()
        self._task: SendTask | None = None
        self._file: int | None = None  # of the task's model, if it came with the task
        self._file_identity: tuple[int, int] | None = None
        self._last_id = -1  # of the last task that is done
        self._shown = False  # whether is_running has returned True for the current task
        self._since = monotonic()  # when receive returned the model
        self._given = False  # whether receive has returned its model
        self._loops = False  # whether the script calls is_running
        self._asked = False  # whether a rank above 0 has asked for a task and waits for the answer
        self._ended = False
        self.spool = Spool(
            Path(spec.spool),
            durability=spec.durability,
            limit_bytes=spec.spool_limit,
            identity=SpoolIdentity(spec.run_id, spec.name),
            gate=spec.terms.gate() if spec.terms is not None else None,
        )
        bind(self.spool)

    @property
    def task_name(self) -> str:
        """Name of the current task; "" between tasks."""
        return self._task.name if self._task else ""

    def take_rank(self, rank: int) -> None:
        """Take part with this rank; see ``fedtrack.client.init``.

        Raises:
            ConfigError: The process takes part with another rank already.
        """
        if rank != self._rank and self._channel.is_joined:
            raise ConfigError(
                f"init(rank={rank}) was called after this process got a task as rank {self._rank}; call init first."
            )
        self._rank = rank

    def is_running(self) -> bool:
        """Wait for the next task. If the script has not answered an optional task, that task is skipped."""
        self._loops = True
        if self._task is not None and self._shown:
            if self._rank > 0:
                self._finish()  # only rank 0 knows whether it is answered
            elif self._task.optional:
                # The script does not handle this task. Without SkipTask the server would wait until the timeout.
                self._skip(self._task)
        task = self._next_task(None)
        self._shown = True
        return task is not None

    def receive(self, timeout: float | None = None) -> FLModel | None:
        """Return the current task's model."""
        if self._rank > 0 and self._given and not self._loops:
            self._finish()
        task = self._next_task(timeout)
        if task is not None and self._has_lost_file() and not self._channel.is_joined:
            self._task = None  # the script has closed all descriptors: with a new connection the task comes again
            task = self._next_task(timeout)
        if task is None:
            return None
        if not self._given:
            self._since = monotonic()
        self._given = True
        self.spool.mark_round(task.current_round)
        # As in FLARE, a train task without a model has an empty one: the site begins with its own.
        params: dict[str, Any] | None = {} if task.name == "train" else None
        if task.has_params:
            path = self._exchange / task.file if self._file is None else path_of(self._file)
            params = load_params(path, self._framework, name=f"the model of the task {task.name!r}")
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
        if self._rank > 0:
            return
        if self._task is None:
            raise ConfigError("send() was called without a task; call receive() first, and send() once per task.")
        seconds = monotonic() - self._since if self._given else None
        stream, last = self.spool.position
        params_type = model.params_type.value if model.params_type else None
        metrics, meta = plain_metrics(model.metrics), plain_meta(model.meta)
        if self.spool.gate is not None:
            metrics, meta = self.spool.gate.released_model(metrics, meta, self._task.current_round)
        message = SendResult(
            self._task.task_id, model.params is not None, params_type, metrics, meta, seconds, stream, last
        )
        file = None
        if model.params is not None:
            params = model.params
            file = when_there_is_room(lambda: hand(params, self._exchange / RESULT_FILE, self._memory))
        try:
            self._post(message, file)
        finally:
            if file is not None:
                os.close(file)
        self._finish()

    def shutdown(self) -> None:
        """Take no further task."""
        self._ended = True

    def report(self, failed: SiteFailed) -> None:
        """Tell the server what ends this process, if it takes part; others are the business of who started them."""
        if self._channel.is_joined:
            failed = hushed(failed) if self.spool.gate is not None else failed
            rank = f"rank {self._rank}: " if self._rank else ""
            with contextlib.suppress(OSError):  # the server has ended; the traceback is in the log file
                self._channel.post(SiteFailed(rank + failed.error, failed.traceback))

    def leave(self) -> None:
        """Tell the server that the script has ended and how much it logged."""
        if os.getpid() != self._owner:
            return  # a child that the script forked has a stream of its own, and must not send the site's counts
        self.spool.close()
        if not self._channel.is_open:
            return  # it took no part, and its spool says how much it logged
        try:
            self._channel.post(SiteLeft(self.spool.stored, self.spool.dropped, self.spool.streams))
        except OSError:
            log.warning("the server is gone; what was logged is in %s", self.spool.folder)

    def _next_task(self, timeout: float | None) -> SendTask | None:
        deadline = None if timeout is None else monotonic() + timeout
        while not self._ended and (self._task is None or self._is_given_up(self._task)):
            self._task, self._shown, self._given = None, False, False
            try:
                self._ask()
                if deadline is not None and not self._channel.poll(max(0.0, deadline - monotonic())):
                    return None
                parcel = self._channel.receive()
                message = decode_to_site.decode(parcel.data)
            except ConnectionError as error:
                log.warning("the server is gone (%s); leaving", error)
                self._ended = True
                return None
            if not isinstance(message, SendTask) or message.task_id <= self._last_id:
                parcel.drop()
            if isinstance(message, EndRun):
                self._ended = True
                return None
            self._asked = False
            # A task that was answered is sent again if the connection was made again meanwhile.
            if isinstance(message, SendTask) and message.task_id > self._last_id:
                self._task = message
                self._keep_file(parcel.file)
                if self._rank > 0:
                    self.spool.mark_round(message.current_round)  # it may get the model from rank 0
        return self._task

    def _ask(self) -> None:
        """Take part, and as a rank above 0 ask for a task."""
        if self._channel.join(self._rank):
            self._asked = False
        if self._rank > 0 and not self._asked:
            self._channel.post(Next(self._last_id))
            self._asked = True

    def _finish(self) -> None:
        if self._task is not None:
            self._last_id = self._task.task_id
        self._task = None
        self._keep_file(None)

    def _keep_file(self, file: int | None) -> None:
        """Keep the file of a task, and close the one before."""
        if self._file is not None and not self._has_lost_file():
            os.close(self._file)
        self._file, self._file_identity = file, None if file is None else identity_of(file)

    def _has_lost_file(self) -> bool:
        """Return whether the script has closed the descriptor of the task's model."""
        return self._file is not None and identity_of(self._file) != self._file_identity

    def _is_given_up(self, task: SendTask) -> bool:
        """Return whether the server no longer waits for this optional task, because it has sent a newer message."""
        return task.optional and self._rank == 0 and self._channel.is_joined and self._channel.poll()

    def _skip(self, task: SendTask) -> None:
        log.warning("the script did not answer the task %r; the server goes on without it", task.name)
        self._finish()
        with contextlib.suppress(OSError):  # the server has ended, which the next read reports
            self._post(SkipTask(task.task_id))

    def _post(self, message: msgspec.Struct, file: int | None = None) -> None:
        self._channel.join(self._rank)  # again, if the script has closed the connection
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
        self._channel.send_bytes(data, file)


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
