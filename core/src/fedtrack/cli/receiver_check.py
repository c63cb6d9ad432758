"""Receiver check: a receiver is tried step by step, with a temporary run."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from fedtrack.cli.arguments import resolved_arguments, written_arguments
from fedtrack.deadline import deadline
from fedtrack.errors import FedtrackError, Transient
from fedtrack.failure import located
from fedtrack.plugins import registry
from fedtrack.redaction import redact
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver, RunInfo

T = TypeVar("T")

#: Seconds that a step may take; a backend that cannot be reached needs some until it says so.
STEP_SECONDS = 120.0


@dataclass(frozen=True)
class Step:
    """One step of the check.

    Attributes:
        name: ``load``, ``arguments``, ``open`` or ``close``.
        failed: Whether the step failed; then the later steps were not tried, except ``close``.
        seconds: The duration of the step.
        detail: Its result, or the error.
    """

    name: str
    failed: bool
    seconds: float
    detail: str

    def row(self) -> dict[str, Any]:
        """Return the step as a row of a listing."""
        outcome = "failed" if self.failed else "ok"
        return {"step": self.name, "outcome": outcome, "seconds": round(self.seconds, 3), "detail": self.detail}


class _StepFailedError(Exception):
    """A step is recorded as failed; no further step is tried."""


class _Checklist:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.module = ""

    def do(self, name: str, action: Callable[[], T], describe: Callable[[T], str]) -> T:
        """Run ``action``, record its result as a step, and return its value."""
        started = time.perf_counter()
        try:
            with deadline(STEP_SECONDS):
                result = action()
                detail = describe(result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a third-party receiver and its SDK may raise anything, and may hang
            self.steps.append(Step(name, True, time.perf_counter() - started, redact(_explain(error, self.module))))
            raise _StepFailedError from error
        self.steps.append(Step(name, False, time.perf_counter() - started, redact(detail)))
        return result


def check_receiver(name: str, args: str) -> list[Step]:
    """Load, construct, open and close the receiver, and return the result of each step.

    Args:
        name: The receiver's name, class name or alias.
        args: Its arguments as a JSON object; ``${ENV:NAME}`` is replaced by an environment variable, as in a job.
    """
    done = _Checklist()
    # The output of an SDK must not get into that of --json.
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(_StepFailedError):
        cls = done.do("load", lambda: registry().receiver(name), _package)
        done.module = cls.__module__
        receiver = done.do("arguments", lambda: cls(**resolved_arguments(written_arguments(args))), lambda _: args)
        _open_and_close(done, receiver)
    return done.steps


def _open_and_close(done: _Checklist, receiver: Receiver) -> None:
    with tempfile.TemporaryDirectory(prefix="fedtrack-check-") as folder:
        run = _throw_away_run(Path(folder))
        try:
            done.do("open", lambda: receiver.open(run), lambda _: _where(receiver))
        finally:
            status = "failed" if done.steps[-1].failed else "completed"
            done.do("close", lambda: receiver.close(status), lambda _: "")


def _throw_away_run(folder: Path) -> RunInfo:
    run_id = f"check-{uuid4().hex[:12]}"
    results = folder / "results"
    results.mkdir(mode=0o700)
    return RunInfo(run_id, "fedtrack-check", results, SERVER, ("site-1",), time.time_ns(), BlobStore(folder / "blobs"))


def _package(cls: type[Receiver]) -> str:
    plugin = registry().owner("receiver", cls.name)
    return f"{cls.__name__} of {plugin.package} {plugin.version}"


def _where(receiver: Receiver) -> str:
    results = receiver.results()
    return "" if results is None else results.location


def _explain(error: BaseException, module: str) -> str:
    if isinstance(error, FedtrackError):
        return str(error)
    if isinstance(error, Transient):
        return f"the backend cannot be reached now: {error}"
    return located(error, module)
