"""CoreProcess: the wandb-core process that serves all W&B runs of this process, and its replacement if it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from fedtrack import Transient

log = logging.getLogger(__name__)

#: ``wandb.Run``; only a name, because the SDK is not imported here.
Run: TypeAlias = Any


class CoreProcess:
    """Starts runs, and replaces a wandb-core that has died or that does not release a run id.

    There is one per process, for all receivers. Each replacement ends every run of the process; the owner of a run
    notices it by the new ``generation``.

    Attributes:
        generation: The number of replacements so far.
        trusts_outbox: Whether an Outbox may send several rows at once; False after that has failed with a wandb-core
            that was alive.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.trusts_outbox = True
        self._runs: dict[str, Run] = {}
        self._users = 0
        self._lock = threading.RLock()

    def acquire(self) -> None:
        """Register a receiver that will start runs."""
        # wandb reports its own errors to W&B, even offline, unless this is set before it is imported.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Unregister a receiver that has finished its runs; after the last one the process is stopped."""
        with self._lock:
            self._users -= 1
            # A run of the host's own script would end with it; in that case wandb's atexit hook stops the process.
            if self._users == 0 and not _host_uses_wandb():
                self._teardown()

    def start(self, arguments: dict[str, Any]) -> tuple[Run, int]:
        """Start a run with ``wandb.init(**arguments)``; return the run and its generation.

        Raises:
            Transient: wandb-core or the W&B server cannot start the run now.
        """
        import wandb

        with self._lock:
            try:
                run = wandb.init(**arguments)
            except Exception as error:
                # After a failed start, this wandb-core regards the run id as taken until it ends.
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
        finish_all([run.finish for run in self._runs.values()])  # otherwise their threads fail when wandb ends
        self._runs.clear()
        # This raises if wandb-core is dead, and wandb exits if it failed. The next start works in both cases.
        with contextlib.suppress(Exception, SystemExit):
            wandb.teardown()


def finish_all(finishes: Sequence[Callable[[], object]]) -> None:
    """Call all functions at the same time, because each may wait as long as the server is down; ignore failures."""
    from concurrent.futures import ThreadPoolExecutor

    def quietly(finish: Callable[[], object]) -> None:
        with contextlib.suppress(Exception):
            finish()

    if finishes:
        with ThreadPoolExecutor(len(finishes), thread_name_prefix="wandb-finish") as pool:
            list(pool.map(quietly, finishes))


def describe(error: BaseException) -> str:
    """Return W&B's error message in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def place_media(folder: Path) -> None:
    """Let wandb put copies of media into ``folder``.

    Its import creates a folder for them among the system's temporary files, where it stays if this process is killed.
    """
    module = import_module("wandb.sdk.data_types._private")
    media = getattr(module, "MEDIA_TMP", None)  # not documented, so it may be missing
    if isinstance(media, TemporaryDirectory) and Path(media.name) != folder and not _host_uses_wandb():
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            media.cleanup()
            media.name = str(folder)


def _host_uses_wandb() -> bool:
    import wandb

    return wandb.run is not None


#: The CoreProcess of this process.
CORE = CoreProcess()
