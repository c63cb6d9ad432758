"""The client API of a script that runs in a FLARE job: models go through FLARE, events into the spool."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.client import FLModel, ParamsType
from fedtrack.errors import ConfigError
from fedtrack.spool import DEFAULT_LIMIT_BYTES, Durability, Spool, SpoolIdentity
from fedtrack.tracking import bind
from fedtrack_local import SUBMIT_MODEL, VALIDATE

#: Where the script's process finds its SiteRun; FLARE's executor starts the script after it is set.
SITE_RUN_VARIABLE = "FEDTRACK_NVFLARE_SITE_RUN"

_LEFT_SUFFIX = ".left"


class SiteRun(msgspec.Struct, forbid_unknown_fields=True):
    """What a site's script needs to know about its run; paths are absolute.

    Attributes:
        site: The site's name.
        run_id: fedtrack's id of the run.
        spool: Where events go.
        script: The training script.
        args: Its arguments.
        config: What ``get_config`` returns.
        in_process: Whether the script runs inside FLARE's own process.
        durability: See ``fedtrack.spool.spool``.
        spool_limit: Likewise, bytes.
    """

    site: str
    run_id: str
    spool: str
    script: str
    args: list[str]
    config: dict[str, Any]
    in_process: bool
    durability: Durability = "process"
    spool_limit: int = DEFAULT_LIMIT_BYTES

    @staticmethod
    def from_environment() -> SiteRun:
        """Read what the shipper wrote.

        Raises:
            ConfigError: There is none: the process was not started by a fedtrack job.
        """
        try:
            return msgspec.json.decode(Path(os.environ[SITE_RUN_VARIABLE]).read_bytes(), type=SiteRun)
        except (KeyError, OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"This process belongs to no fedtrack job on FLARE: {error!r}.") from None


class Left(msgspec.Struct, forbid_unknown_fields=True):
    """What a script's process counted before it ended."""

    logged: int
    dropped: int


class NVFlareBackend:
    """See ``fedtrack.client.backend.ClientBackend``."""

    def __init__(self, run: SiteRun) -> None:
        import nvflare.client as flare

        self._flare = flare
        flare.init()
        self._owner = os.getpid()
        self.job_id = run.run_id
        self.site_name = run.site
        self.config = run.config
        self.spool = Spool(
            Path(run.spool),
            durability=run.durability,
            limit_bytes=run.spool_limit,
            identity=SpoolIdentity(run.run_id, run.site),
        )
        bind(self.spool)

    @property
    def task_name(self) -> str:
        """Name of the current task; "" between tasks."""
        return self._flare.get_task_name() or ""

    def is_running(self) -> bool:
        """Wait for the next task."""
        return bool(self._flare.is_running())

    def receive(self, timeout: float | None = None) -> FLModel | None:
        """Return the current task's model."""
        model = self._flare.receive(timeout)
        if model is None:
            return None
        self.spool.mark_round(None if self.task_name in (VALIDATE, SUBMIT_MODEL) else model.current_round)
        return FLModel(
            params=model.params or None,  # FLARE sends an empty dict where there is no model yet
            start_round=model.start_round or 0,
            current_round=model.current_round,
            total_rounds=model.total_rounds,
            meta=dict(model.meta or {}),
        )

    def send(self, model: FLModel) -> None:
        """Answer the current task."""
        if not isinstance(model, FLModel):
            raise ConfigError(f"send() got a {type(model).__name__}; it takes a fedtrack.client.FLModel.")
        type_ = self._flare.ParamsType.DIFF if model.params_type is ParamsType.DIFF else self._flare.ParamsType.FULL
        answer = self._flare.FLModel(
            params_type=None if model.params is None else type_,
            params=model.params,
            metrics=None if model.metrics is None else {key: float(value) for key, value in model.metrics.items()},
            meta=dict(model.meta),
        )
        self._flare.send(answer)

    def shutdown(self) -> None:
        """Take no further task."""
        self._flare.shutdown()

    def leave(self) -> None:
        """Write down how much was logged, for the goodbye to the server."""
        if os.getpid() != self._owner:
            return  # a child that the script forked has its own stream and must not speak for the site
        self.spool.close()
        left = Left(self.spool.stored, self.spool.dropped)
        path = self.spool.folder / f"{self.spool.stream}{_LEFT_SUFFIX}"
        path.write_bytes(msgspec.json.encode(left))


_active: NVFlareBackend | None = None


def from_environment() -> NVFlareBackend:
    """Join the job; the environment was set by the shipper."""
    global _active
    run = SiteRun.from_environment()
    _active = NVFlareBackend(run)
    if not run.in_process:
        # Runs after the script's own exit handlers, which may still log: handlers run in reverse order.
        atexit.register(_active.leave)
    return _active


def leave_process() -> None:
    """Let a script that ran inside FLARE's process leave; it has no exit of its own."""
    global _active
    if _active is not None:
        _active.leave()
        _active = None


def read_left(spool: Path) -> Left | None:
    """Return what the script's processes counted; None if none of them came to it."""
    found = [msgspec.json.decode(path.read_bytes(), type=Left) for path in spool.glob(f"*{_LEFT_SUFFIX}")]
    if not found:
        return None
    return Left(sum(left.logged for left in found), sum(left.dropped for left in found))
