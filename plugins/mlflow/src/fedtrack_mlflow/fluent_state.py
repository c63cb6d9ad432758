"""FluentState: the functions of MLflow that choose a server, an experiment or a run; here the job has chosen them."""

from __future__ import annotations

import logging
import os
from typing import Any

from fedtrack import client
from fedtrack.errors import ConfigError
from fedtrack.tracking import shorten
from fedtrack_mlflow.flavors import NAMES, Flavor
from fedtrack_mlflow.fluent_run import Experiment, FluentRun, Info
from fedtrack_mlflow.ignored_calls import IgnoredCalls

log = logging.getLogger(__name__)


class FluentState(IgnoredCalls):
    """Answers for scripts that start runs and choose experiments: all records of a site go to the site's one run."""

    def __init__(self, record_log: Any = None) -> None:
        super().__init__(record_log)
        run_id, site = _identity()
        self._root = FluentRun(Info(run_id, site), self._left)
        self._open: list[FluentRun] = []
        self._experiment = Experiment(site)
        self._uris = {"tracking": "", "registry": ""}

    def start_run(
        self,
        run_id: str | None = None,
        experiment_id: str | None = None,
        run_name: str | None = None,
        nested: bool = False,
        parent_run_id: str | None = None,
        tags: dict[str, Any] | None = None,
        description: str | None = None,
        log_system_metrics: bool | None = None,
    ) -> FluentRun:
        """Return the site's run, which the job has started; it is a context manager.

        ``tags`` become tags, ``description`` the note and ``run_name`` the tag ``run_name``. The records of a nested
        run go to the same run.
        """
        if self._open and self._first_time("nested"):
            log.warning("MLflowWriter: a nested run is no run of its own; its records go to the site's run (said once)")
        info = Info(run_id or self._root.info.run_id, str(run_name or self._root.info.run_name))
        run = FluentRun(info, self._left)
        self._open.append(run)
        if run_name is not None:
            self.record_tag("run_name", run_name)
        if description is not None:
            self.record_tag("mlflow.note.content", description)
        if tags is not None:
            self.set_experiment_tags(tags)
        return run

    def end_run(self, status: str = "FINISHED") -> None:
        """Leave the innermost run of ``start_run``; the site's run ends with the job."""
        self._left(status)

    def active_run(self) -> FluentRun:
        """Return the innermost run of ``start_run``, or the site's run."""
        return self._open[-1] if self._open else self._root

    def last_active_run(self) -> FluentRun:
        """Return ``active_run()``."""
        return self.active_run()

    def set_experiment(
        self, experiment_name: str | None = None, experiment_id: str | None = None, trace_location: Any = None
    ) -> Experiment:
        """Return an experiment of that name; the receiver of the job chooses the one that is used."""
        self._chosen("set_experiment", experiment_name or experiment_id)
        self._experiment = Experiment(str(experiment_name or experiment_id), str(experiment_id or "0"))
        return self._experiment

    def set_experiment_tag(self, key: str, value: Any) -> None:
        """Set a tag on the site's run, because an experiment belongs to all sites."""
        self.record_tag(key, value)

    def set_experiment_tags(self, tags: dict[str, Any]) -> None:
        """See ``set_experiment_tag``."""

        def make() -> None:
            for key, value in tags.items():
                self.record_tag(key, value)

        self._made("tags", make)

    def set_tracking_uri(self, uri: str | os.PathLike[str]) -> None:
        """Do nothing: the receiver of the job has the server's URI."""
        self._chosen("set_tracking_uri", "the URI")  # which may have a password
        self._uris["tracking"] = str(uri)

    def get_tracking_uri(self) -> str:
        """Return what ``set_tracking_uri`` was given."""
        return self._uris["tracking"]

    def set_registry_uri(self, uri: str) -> None:
        """Do nothing; see ``set_tracking_uri``."""
        self._chosen("set_registry_uri", "the URI")
        self._uris["registry"] = str(uri)

    def get_registry_uri(self) -> str:
        """Return what ``set_registry_uri`` was given."""
        return self._uris["registry"]

    def set_workspace(self, workspace: str | None) -> None:
        """Do nothing; see ``set_tracking_uri``."""
        self._chosen("set_workspace", workspace)

    def get_artifact_uri(self, artifact_path: str | None = None) -> str:
        """Return a URI of the site's run and the path; only MLflow's server could open it."""
        return f"runs:/{self._root.info.run_id}/{artifact_path or ''}"

    def flush_async_logging(self) -> None:
        """Return at once: every record is stored when its call returns."""

    def flush_artifact_async_logging(self) -> None:
        """Return at once; see ``flush_async_logging``."""

    def flush(self) -> None:
        """Return at once; see ``flush_async_logging``."""

    def __getattr__(self, name: str) -> Flavor:
        if name in NAMES:
            return Flavor(name, self, lambda: self._root.info.run_id)
        raise AttributeError(f"MLflowWriter has no {name!r}, which is no logging function or flavor of MLflow")

    def _left(self, status: str) -> None:
        if self._open:
            ended = self._open.pop()
            ended.info.status = str(status)

    def _chosen(self, call: str, value: Any) -> None:
        if self._first_time(call):
            log.info("MLflowWriter.%s(): the job's receivers decide that; %s is not used", call, shorten(value))


def _identity() -> tuple[str, str]:
    """Return the ids of the run and the site; fixed names in a script that no job runs."""
    try:
        return client.get_job_id(), client.get_site_name()
    except ConfigError:
        return "local", "local"
