"""Session: the receiver's connection to one store, with MLflow's client, the experiment and the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack import Results, RunInfo
from fedtrack_mlflow import database, experiment
from fedtrack_mlflow.address import Address
from fedtrack_mlflow.options import RunArguments, texts
from fedtrack_mlflow.runs import Runs
from fedtrack_mlflow.settings import import_quietly

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Session:
    """The client, the experiment and the runs of a receiver that is open; use it within ``settings.calm()``.

    Args:
        address: The store.
        run: The federated run.
        arguments: Names and tags from the job.

    Attributes:
        address: The store.
        run: The federated run.
    """

    def __init__(self, address: Address, run: RunInfo, arguments: RunArguments) -> None:
        self.address = address
        self.run = run
        self._arguments = arguments
        self._client: MlflowClient | None = None
        self._runs: Runs | None = None
        self._experiment_id = ""

    @property
    def client(self) -> MlflowClient:
        """MLflow's client; the first use creates a SQLite store that does not exist.

        Raises:
            Transient: Another process is still creating the store after a long wait.
        """
        if self._client is None:
            from mlflow import MlflowClient

            if self.address.is_sql:
                import_quietly("mlflow.store.tracking.sqlalchemy_store")
            if self.address.database is not None:
                database.ensure(self.address.database)
            database.dispose(self.address.uri)
            self._client = MlflowClient(self.address.uri)
        return self._client

    @property
    def runs(self) -> Runs:
        """The runs; the first use finds or creates the experiment and the parent run.

        Raises:
            ConfigError: The experiment was deleted.
            MlflowException: The store cannot be reached or refuses a name.
        """
        if self._runs is None:
            arguments, job = self._arguments, self.run.job_name
            self._experiment_id = experiment.ensure(
                self.client, arguments.experiment_name or job, texts(arguments.experiment_tags), self.address
            )
            self._runs = Runs(
                self.client,
                self.run,
                self._experiment_id,
                arguments.run_name or job,
                texts(arguments.run_tags),
                in_files=self.address.files is not None,
            )
        return self._runs

    def forget(self) -> None:
        """Look everything up again at the next use, because after a failure the content of the store is not known."""
        self._runs = None

    def close(self, status: str) -> None:
        """End the runs with ``status``, one of MLflow's, and close the store's files.

        Raises:
            MlflowException: The store cannot be reached; the runs still show as running.
        """
        if self._client is None:
            return
        try:
            if self._experiment_id:
                self.runs.terminate(status)
        finally:
            database.dispose(self.address.uri)
            self._client = self._runs = None

    def results(self) -> Results:
        """Return the place of the experiment, and the command that shows it."""
        return self.address.results(self._experiment_id)
