"""MLflowReceiver: each site's records go to an MLflow run of its own."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from fedtrack import Batch, Receiver, ReceiverOptions, Results, RunInfo
from fedtrack.errors import ConfigError, Transient
from fedtrack.tracking.records import KINDS, Metric, Record
from fedtrack_mlflow import content, drivers, filestore, points
from fedtrack_mlflow.address import resolve
from fedtrack_mlflow.confirmation import confirm
from fedtrack_mlflow.failures import translated
from fedtrack_mlflow.options import MLflowOptions, run_arguments
from fedtrack_mlflow.point_count import count_points
from fedtrack_mlflow.settings import calm, import_quietly
from fedtrack_mlflow.upload import send

if TYPE_CHECKING:
    from fedtrack_mlflow.session import Session

log = logging.getLogger(__name__)

#: Records wait for others this many times as long as the last calls took, up to ``buffer_flush_time``. So MLflow works
#: at most about a tenth of the time while sites log slowly.
_WAIT_PER_BUSY_SECOND = 10

_STATUSES = {"completed": "FINISHED", "failed": "FAILED", "aborted": "KILLED"}


class MLflowReceiver(Receiver):
    """Puts records into one MLflow run per site, which are children of a parent run for the federated run.

    Delivering a batch again changes nothing: points, parameters and tags are identified by their content, and runs by
    their tags. See ``MLflowOptions`` for the arguments.
    """

    name: ClassVar[str] = "mlflow"
    summary: ClassVar[str] = "MLflow: a SQLite file in the run's folder, a tracking server or a file store."
    supports: ClassVar[frozenset[type[Record]]] = frozenset(KINDS.values())
    aliases: ClassVar[tuple[str, ...]] = ("nvflare.app_opt.tracking.mlflow.mlflow_receiver.MLflowReceiver",)
    requires: ClassVar[tuple[str, ...]] = ("mlflow", "sqlalchemy", "alembic", "filelock")
    install: ClassVar[str] = "pip install 'fedtrack[mlflow]'"
    Options: ClassVar[type[ReceiverOptions]] = MLflowOptions
    options: MLflowOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gather_seconds = self.options.buffer_flush_time
        self._arguments = run_arguments(self.options.kw_args)
        self._session: Session | None = None
        self._next_seq: dict[tuple[str, str], int] = {}
        self._busy_seconds = 0.0

    def check(self) -> None:
        """Check that this machine has the driver of the database in ``tracking_uri``.

        Raises:
            ConfigError: It is not installed; the message says what to install.
        """
        drivers.check(self.options.tracking_uri or "")

    def prepare(self) -> None:
        """Import MLflow and its database modules, for which a small job waits longest, at least on a busy machine."""
        import_quietly("mlflow")
        if not (self.options.tracking_uri or "").startswith("http"):
            import_quietly("mlflow.store.tracking.sqlalchemy_store")

    def open(self, run: RunInfo) -> None:
        """Create the store if it is new, and find or create the experiment and the parent run.

        Raises:
            Transient: The store cannot be reached now, or another process is creating it.
            ConfigError: ``tracking_uri`` names no store, or the experiment was deleted.
        """
        from fedtrack_mlflow.session import Session

        if self._session is None:
            address = resolve(self.options.tracking_uri, self.options.artifact_location, run.folder)
            if address.files is not None:
                log.warning(
                    "MLflowReceiver writes to the file store %s, a format that MLflow has deprecated; without "
                    "tracking_uri it uses a SQLite file. `mlflow migrate-filestore` converts what is there.",
                    address.files,
                )
            self._session = Session(address, run, self._arguments)
        with calm(), translated(f"MLflow at {self._session.address.shown} cannot be opened"):
            self._session.runs  # noqa: B018 - connects

    def receive(self, batch: Batch) -> None:
        """Log the batch in the site's run; everything is stored when this returns.

        Raises:
            Transient: Try the whole batch again later.
            Permanent: MLflow refuses some records; the others are stored if ``indices`` are given.
        """
        if self._session is None:
            raise RuntimeError("MLflowReceiver.receive() was called before open().")
        if not batch.records:
            return
        begun = monotonic()
        with calm(), translated(f"MLflow at {self._session.address.shown} did not take records of {batch.site}"):
            try:
                self._log(self._session, batch)
            except ConfigError as error:  # somebody has deleted the experiment, and may restore it
                self._session.forget()
                raise Transient(str(error)) from error
            except Exception:
                self._session.forget()
                raise
        self._next_seq[batch.site, batch.stream] = batch.seqs[-1] + 1
        self._busy_seconds += monotonic() - begun

    def flush(self) -> None:
        """Choose how long the next records wait for others; all received records are stored already."""
        self.gather_seconds = min(self.options.buffer_flush_time, _WAIT_PER_BUSY_SECOND * self._busy_seconds)
        self._busy_seconds = 0.0

    def close(self, status: str) -> None:
        """End the runs as FINISHED, FAILED or KILLED, and close the store's files."""
        if self._session is None:
            return
        try:
            with calm():
                self._session.close(_STATUSES.get(status, "FAILED"))
        except Exception as error:
            shown = self._session.address.shown
            log.warning("The MLflow runs at %s could not be ended and still show as running: %s", shown, error)

    def count(self, sites: Sequence[str]) -> dict[str, int]:
        """Count the points in the sites' runs.

        Raises:
            Transient: The store cannot be reached now.
        """
        if self._session is None:
            raise RuntimeError("MLflowReceiver.count() was called before open().")
        with calm(), translated(f"MLflow at {self._session.address.shown} cannot be read"):
            ids = {site: self._session.runs.id_of(site) for site in sites}
            known = [run_id for run_id in ids.values() if run_id is not None]
            found = count_points(self._session.client, self._session.address, known, self.counting)
            return {site: found[run_id] if run_id is not None else 0 for site, run_id in ids.items()}

    def point(self, metric: Metric) -> Hashable:
        """Return the fields of the primary key of a point."""
        return points.identity(points.point(metric, metric.key, 0))

    def results(self) -> Results | None:
        """Return the place of the experiment, and the command that shows it."""
        return None if self._session is None else self._session.results()

    def _log(self, session: Session, batch: Batch) -> None:
        run = session.runs.of(batch.site)
        sorted_content = content.sort(batch.records, run, session.run.blobs)
        may_be_known = batch.seqs[0] < self._next_seq.get((batch.site, batch.stream), batch.seqs[-1] + 1)
        if session.address.files is not None and may_be_known:
            sorted_content.metrics = filestore.unseen(session.client, run.run_id, sorted_content.metrics)
        send(session.client, run.run_id, sorted_content, session.run.folder)
        if session.address.is_server and sorted_content.metrics:
            confirm(session.client, run.run_id, sorted_content.metrics)
