"""The wandb-core process, which serves every W&B run of this process: started, lost, started again."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from fedtrack import Transient

log = logging.getLogger(__name__)

#: ``wandb.Run``; the SDK is not imported here, so the type is a name only.
Run: TypeAlias = Any


class CoreProcess:
    """Starts runs, and replaces a wandb-core that died or that holds a run id hostage.

    There is one per process, whatever the number of receivers. Each replacement ends every run of the process,
    which their owners notice because ``generation`` has changed.

    Attributes:
        generation: Counts the replacements.
        trusts_outbox: Whether runs may share crossings; False once that failed with a wandb-core that was alive.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.trusts_outbox = True
        self._runs: dict[str, Run] = {}
        self._users = 0
        self._lock = threading.RLock()

    def acquire(self) -> None:
        """Say that a receiver is going to start runs."""
        # wandb reports its own errors to its makers, also offline, unless told not to before it is imported.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Say that a receiver has finished its runs; the last one stops the process."""
        with self._lock:
            self._users -= 1
            # A run of the host's own script would be ended with it, so then wandb's atexit hook has to do it.
            if self._users == 0 and not _host_uses_wandb():
                self._teardown()

    def start(self, arguments: dict[str, Any]) -> tuple[Run, int]:
        """Start a run with ``wandb.init(**arguments)``; return it and the generation it belongs to.

        Raises:
            Transient: wandb-core or the W&B server cannot start the run now.
        """
        import wandb

        with self._lock:
            try:
                run = wandb.init(**arguments)
            except Exception as error:
                # wandb-core regards the id as taken after a failed start, for as long as it lives.
                self._teardown()
                raise Transient(f"W&B cannot start run {arguments['id']}: {describe(error)}") from error
            self._runs[arguments["id"]] = run
            return run, self.generation

    def lost(self, generation: int) -> None:
        """Replace the wandb-core of ``generation``, unless someone else already has."""
        with self._lock:
            if generation == self.generation:
                self._teardown()

    def _teardown(self) -> None:
        import wandb

        self.generation += 1
        finish_all([run.finish for run in self._runs.values()])  # or their threads would fail when wandb is gone
        self._runs.clear()
        # A dead wandb-core raises here, and one that failed makes wandb exit; the next start works anyway.
        with contextlib.suppress(Exception, SystemExit):
            wandb.teardown()


def finish_all(finishes: Sequence[Callable[[], object]]) -> None:
    """Call everything at once, because each call may wait for as long as the server is down; ignore failures."""
    from concurrent.futures import ThreadPoolExecutor

    def quietly(finish: Callable[[], object]) -> None:
        with contextlib.suppress(Exception):
            finish()

    if finishes:
        with ThreadPoolExecutor(len(finishes), thread_name_prefix="wandb-finish") as pool:
            list(pool.map(quietly, finishes))


def describe(error: BaseException) -> str:
    """Return what W&B said, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _host_uses_wandb() -> bool:
    import wandb

    return wandb.run is not None


#: The one of this process.
CORE = CoreProcess()
