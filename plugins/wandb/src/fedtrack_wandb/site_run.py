"""SiteRun: one site's W&B run, which stays complete if the wandb-core process dies."""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedtrack import Transient
from fedtrack.tracking import BlobStore
from fedtrack.tracking.records import Artifact, Param, Tag
from fedtrack_wandb import names, rows
from fedtrack_wandb.core_process import CoreProcess, Run, describe
from fedtrack_wandb.outbox import Outbox
from fedtrack_wandb.rows import Row
from fedtrack_wandb.step_axis import StepAxis
from fedtrack_wandb.transaction_log import TransactionLog

log = logging.getLogger(__name__)

#: The most rows in memory that W&B may not have yet. An online run with this many is ended and resumed, which proves
#: that they have arrived.
TAIL_LIMIT = 20_000

#: The folder of the scripts' artifacts among the run's files, apart from W&B's own files.
ARTIFACTS = "artifacts"

#: Errors of the file system that the name causes, so that another attempt would not help.
_BAD_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, None)


class Refused(Exception):  # noqa: N818 - names W&B's answer
    """W&B will never take this value; the message says why."""


class _CoreDied(Exception):  # noqa: N818
    """wandb-core no longer answers."""


class SiteRun:
    """Sends records to one W&B run.

    Records stay in memory until W&B has certainly stored them, and are sent again to a new wandb-core. Rows stay until
    they are in the run's file (offline) or on the server (online). Settings and artifacts always stay, because sending
    them twice changes nothing.

    Args:
        core: The process that serves the run.
        arguments: Arguments of ``wandb.init``.
        blobs: The store of large values.
        scratch: A folder for files that are needed during one call.

    Attributes:
        project_url: The URL of the project's page, as soon as it is known.
        incomplete: Whether the run has ended before all of it was uploaded.
    """

    def __init__(self, core: CoreProcess, arguments: dict[str, Any], blobs: BlobStore, scratch: Path) -> None:
        self.project_url = ""
        self.incomplete = False
        self._core = core
        self._arguments = arguments
        self._online = arguments["mode"] == "online"
        self._blobs = blobs
        self._scratch = scratch
        self._run: Run = None
        self._generation = -1
        self._axis = StepAxis()
        self._config: dict[str, Any] = {}
        self._artifacts: dict[str, Artifact] = {}
        self._tail: deque[Row] = deque()
        # The attributes below describe the run since its last start.
        self._outbox = Outbox()
        self._log = TransactionLog(Path())
        self._first_step = 0  # W&B's own step of the first row
        self._sent = 0  # rows sent
        self._forgotten = 0  # of these, the rows that have left the tail

    def __str__(self) -> str:
        return str(self._arguments["id"])

    def ensure(self) -> None:
        """Make sure that a live wandb-core has all records that were added.

        Raises:
            Transient: It cannot take them now. Nothing is lost: the next call tries again.
        """
        self._ensure_run()
        with self._surviving():
            self._hand_over()
        self._ensure_run()

    def add_row(self, row: Row) -> None:
        """Add a row. After this returns, the row reaches W&B as soon as ``ensure`` succeeds.

        Raises:
            Refused: The row was not added.
            Transient: The row was not added.
        """
        self._ensure_run()
        self._make_room()
        self._tail.append(row)
        with self._surviving():
            try:
                self._send(row)
            except (Refused, Transient):
                self._tail.pop()
                raise

    def add_setting(self, record: Param | Tag) -> None:
        """Add a parameter or tag to the run's config; see ``add_row``."""
        self._ensure_run()
        key, value = rows.setting(record)
        self._config[key] = value
        with self._surviving(), self._classified(), self._outbox:
            self._run.config.update({key: value}, allow_val_change=True)

    def add_artifact(self, record: Artifact) -> None:
        """Add a file; see ``add_row``."""
        self._ensure_run()
        self._artifacts[record.path] = record
        with self._surviving():
            try:
                self._save(record)
            except (Refused, Transient):
                del self._artifacts[record.path]
                raise

    def sync(self) -> None:
        """Make sure that wandb-core has received all records; it outlives this process and writes them to the file.

        Raises:
            Transient: See ``ensure``.
        """
        self.ensure()
        if not self._answers():
            self._core.lost(self._generation)
            self.ensure()

    def wait_written(self, deadline: float) -> None:
        """Wait until the rows are in the run's file, at most until ``deadline`` (``time.monotonic()``)."""
        while self._log.update() < self._sent and time.monotonic() < deadline:
            time.sleep(0.02)
        if not self._online:
            self._forget(self._log.rows)

    def finish(self, exit_code: int) -> None:
        """End the run and wait for its uploads as long as its settings allow. It never raises."""
        try:
            self._run.finish(exit_code=exit_code)
        except TimeoutError:
            self.incomplete = True
            log.warning("W&B has not taken all of run %s; upload the rest with: wandb sync %s", self, self.folder)
        except Exception as error:
            log.warning("W&B run %s did not end cleanly: %s", self, describe(error))

    @property
    def folder(self) -> Path:
        """The folder of the run's files."""
        return self._log.path.parent

    def _ensure_run(self) -> None:
        if self._run is None or self._generation != self._core.generation:
            self._resume()

    def _resume(self) -> None:
        previous = self.folder if self._run is not None else None
        run, generation = self._core.start(self._arguments)
        first_step = run.starting_step if self._online else 0
        if previous is not None:
            # The rows to send again are those that the server lacks (online) or that the file lacks (offline).
            self._forget(first_step - self._first_step if self._online else self._log.update())
        self._run, self._generation = run, generation
        self._outbox = Outbox(run if self._core.trusts_outbox else None)
        self.project_url = (run.project_url or "") if self._online else ""
        self._log = TransactionLog(Path(run.dir).parent / f"run-{run.id}.wandb")
        self._first_step, self._sent, self._forgotten = first_step, 0, 0
        self._axis.forget_definitions()
        try:
            self._send_again(previous)
            self._hand_over()
        except _CoreDied as error:
            self._core.lost(generation)
            raise Transient(f"wandb-core died while W&B run {self} was resumed: {error}") from error

    def _send_again(self, previous: Path | None) -> None:
        with self._classified():
            with self._outbox:
                self._run.config.update(self._config, allow_val_change=True)
            if self._online and previous is not None:
                for file in (previous / "files" / "media").rglob("*.*"):
                    self._upload(file, previous / "files")
        for artifact in self._artifacts.values():
            self._save(artifact)
        for row in tuple(self._tail):
            self._send(row)

    def _send(self, row: Row) -> None:
        values = self._built(row)
        with self._classified(), self._outbox:
            for key in values:
                self._axis.place(self._run, key, row[0].step)
            if row[0].step is not None:
                values[names.STEP_KEY] = row[0].step
            values["_timestamp"] = row[0].time_ns / 1e9
            # Never with step=, because W&B drops a row if its step is not greater than that of the row before.
            self._run.log(values)
        self._sent += 1
        if self._outbox.is_full:
            self._hand_over()

    def _hand_over(self) -> None:
        try:
            self._outbox.hand_over()
        except Exception as error:
            if self._answers():
                log.warning("From now on, W&B gets its rows one by one: %s", describe(error))
                self._core.trusts_outbox = False
            # Replace it although it is alive: only its file will say which rows it has received.
            raise _CoreDied(describe(error)) from error

    def _built(self, row: Row) -> dict[str, Any]:
        try:
            return rows.build(row, self._blobs, self._scratch)
        except Exception as error:  # each image decoder raises exceptions of its own
            raise _classify(error) from error

    def _save(self, record: Artifact) -> None:
        with self._classified():
            files = Path(self._run.dir)
            target = names.free_path(files / ARTIFACTS, names.encode_path(record.path))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self._blobs.read(record.data))
            self._upload(target, files)

    def _upload(self, file: Path, base: Path) -> None:
        with self._outbox:
            self._run.save(str(file), base_path=str(base), policy="now", glob=False)

    def _make_room(self) -> None:
        if len(self._tail) < TAIL_LIMIT:
            return
        self.ensure()
        if not self._online:
            self.wait_written(time.monotonic() + 1.0)
            return
        try:
            self._run.finish()
        except Exception as error:
            self._core.lost(self._generation)
            raise Transient(f"W&B has not taken the latest {len(self._tail):,} rows of run {self} yet.") from error
        self._tail.clear()
        self._run = None
        self.ensure()

    def _forget(self, safe: int) -> None:
        """Remove the first ``safe`` sent rows from the tail, as far as they are still in it."""
        while self._forgotten < safe and self._tail:
            self._tail.popleft()
            self._forgotten += 1

    def _answers(self) -> bool:
        """Ask wandb-core for the next step; it answers after it has processed all earlier records."""
        try:
            return self._run.step is not None
        except Exception:
            return False

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        """Replace wandb-core if it dies in the block; ``ensure`` sends the records again."""
        try:
            yield
        except _CoreDied as error:
            log.warning("wandb-core died (%s); W&B run %s is resumed", error, self)
            self._core.lost(self._generation)

    @contextlib.contextmanager
    def _classified(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._answers():
                raise _CoreDied(describe(error)) from error
            raise _classify(error) from error


def _classify(error: Exception) -> Refused | Transient:
    if isinstance(error, OSError) and error.errno not in _BAD_NAME:
        return Transient(describe(error))  # for example a full disk
    return Refused(describe(error))
