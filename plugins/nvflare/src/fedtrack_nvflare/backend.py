"""Backend: the client API of a script in a FLARE job, with models through FLARE and events into the spool."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.client import FLModel, ParamsType
from fedtrack.errors import ConfigError
from fedtrack.policy import Terms
from fedtrack.spool import DEFAULT_LIMIT_BYTES, Durability, Spool, SpoolIdentity
from fedtrack.tracking import bind
from fedtrack_local import SUBMIT_MODEL, VALIDATE

#: The environment variable with the SiteRun; it is set before FLARE's executor starts the script.
SITE_RUN_VARIABLE = "FEDTRACK_NVFLARE_SITE_RUN"

_LEFT_SUFFIX = ".left"


class SiteRun(msgspec.Struct, forbid_unknown_fields=True):
    """The start parameters of a site's script; paths are absolute.

    Attributes:
        site: The site's name.
        run_id: fedtrack's id of the run.
        spool: The folder of the spool.
        script: The training script.
        args: The script's arguments.
        config: The value of ``get_config``.
        in_process: Whether the script runs inside FLARE's own process.
        durability: See ``fedtrack.spool.spool``.
        spool_limit: Bytes; see ``fedtrack.spool.spool``.
        terms: What the site's records are released under; None releases all.
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
    terms: Terms | None = None

    @staticmethod
    def from_environment() -> SiteRun:
        """Read the SiteRun that the shipper has written.

        Raises:
            ConfigError: There is none: the process was not started by a fedtrack job.
        """
        try:
            return msgspec.json.decode(Path(os.environ[SITE_RUN_VARIABLE]).read_bytes(), type=SiteRun)
        except (KeyError, OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"This process belongs to no fedtrack job on FLARE: {error!r}.") from None


class Left(msgspec.Struct, forbid_unknown_fields=True):
    """The counts of log calls of a script's process, stored at its end."""

    logged: int
    dropped: int


class NVFlareBackend:
    """See ``fedtrack.client.backend.ClientBackend``.

    FLARE gives tasks to rank 0 only: for every other rank ``is_running`` is False, and ``receive`` returns None.

    Args:
        run: The site.
        rank: The process's rank in distributed training; None means that of the variable ``RANK``, or 0.
    """

    def __init__(self, run: SiteRun, rank: int | None = None) -> None:
        import nvflare.client as flare

        self._flare = flare
        self._rank = os.environ.get("RANK", "0") if rank is None else str(rank)
        flare.init(rank=self._rank)
        self._owner = os.getpid()
        self.job_id = run.run_id
        self.site_name = run.site
        self.config = run.config
        self.spool = Spool(
            Path(run.spool),
            durability=run.durability,
            limit_bytes=run.spool_limit,
            identity=SpoolIdentity(run.run_id, run.site),
            gate=None if run.terms is None else run.terms.gate(),
        )
        self._round: int | None = None
        bind(self.spool)

    @property
    def task_name(self) -> str:
        """Name of the current task; "" between tasks, and in ranks that get none."""
        if self._rank != "0":
            return ""
        return self._flare.get_task_name() or ""

    def take_rank(self, rank: int) -> None:
        """See ``fedtrack.client.init``.

        Raises:
            ConfigError: The process has another rank in FLARE already.
        """
        if str(rank) != self._rank:
            raise ConfigError(
                f"init(rank={rank}) was called after this process joined FLARE as rank {self._rank}; call it before "
                "the first writer is created."
            )

    def is_running(self) -> bool:
        """Wait for the next task."""
        return bool(self._flare.is_running())

    def receive(self, timeout: float | None = None) -> FLModel | None:
        """Return the current task's model."""
        model = self._flare.receive(timeout)
        if model is None:
            return None
        self._round = None if self.task_name in (VALIDATE, SUBMIT_MODEL) else model.current_round
        self.spool.mark_round(self._round)
        return FLModel(
            # A train task without a model has an empty one; other tasks have none.
            params=model.params or (None if self.task_name in (VALIDATE, SUBMIT_MODEL) else {}),
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
        metrics = None if model.metrics is None else {key: float(value) for key, value in model.metrics.items()}
        meta = dict(model.meta)
        if self.spool.gate is not None:
            metrics, meta = self.spool.gate.released_model(metrics, meta, self._round)
        answer = self._flare.FLModel(
            params_type=None if model.params is None else type_, params=model.params, metrics=metrics, meta=meta
        )
        self._flare.send(answer)

    def shutdown(self) -> None:
        """Take no further task."""
        self._flare.shutdown()

    def leave(self) -> None:
        """Store the counts of log calls for the goodbye to the server."""
        if os.getpid() != self._owner:
            return  # a child that the script forked has its own stream and must not report for the site
        self.spool.close()
        left = Left(self.spool.stored, self.spool.dropped)
        path = self.spool.folder / f"{self.spool.stream}{_LEFT_SUFFIX}"
        path.write_bytes(msgspec.json.encode(left))


_active: NVFlareBackend | None = None


def from_environment(rank: int | None = None) -> NVFlareBackend:
    """Join the job with a rank; the environment was set by the shipper."""
    global _active
    run = SiteRun.from_environment()
    _active = NVFlareBackend(run, rank)
    if not run.in_process:
        # Runs after the script's own exit handlers, which may still log: handlers run in reverse order.
        atexit.register(_active.leave)
    return _active


def leave_process() -> None:
    """End the backend of a script inside FLARE's process, which has no exit of its own."""
    global _active
    if _active is not None:
        _active.leave()
        _active = None


def read_left(spool: Path) -> Left | None:
    """Return the counts of the script's processes; None if none of them stored any."""
    found = [msgspec.json.decode(path.read_bytes(), type=Left) for path in spool.glob(f"*{_LEFT_SUFFIX}")]
    if not found:
        return None
    return Left(sum(left.logged for left in found), sum(left.dropped for left in found))
