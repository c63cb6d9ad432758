"""Runs: the MLflow runs of one federated run, which are a parent and a child for each site.

Before a run is created, it is looked up by its tags. So neither a restart nor a replay nor a lost answer leads to a
second one.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedtrack import RunInfo
from fedtrack.tracking import SERVER
from fedtrack_mlflow.site_run import SiteRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_TAG = "fedtrack.run_id"
SITE_TAG = "fedtrack.site"
JOB_TAG = "fedtrack.job"

_PARENT_TAG = "mlflow.parentRunId"
_PAGE = 1000


class Runs:
    """Finds or creates the runs of ``run`` in one experiment.

    Args:
        client: MLflow's client.
        run: The federated run.
        experiment_id: The experiment of the runs.
        name: The parent's name; a child is called ``<name>-<site>``.
        tags: Tags of each new run.
        in_files: Whether the store is a file store.
    """

    def __init__(
        self,
        client: MlflowClient,
        run: RunInfo,
        experiment_id: str,
        name: str,
        tags: Mapping[str, str],
        in_files: bool,
    ) -> None:
        self._client = client
        self._run = run
        self._experiment_id = experiment_id
        self._name = name
        self._tags = tags
        self._in_files = in_files
        self._open: dict[str, SiteRun] = {}
        self._found: dict[str, Run] = self._search()
        if run.node == SERVER:
            self.of(SERVER)

    def of(self, site: str) -> SiteRun:
        """Return the site's run, and set its status to running; ``"server"`` is the parent's site.

        Raises:
            MlflowException: The run could not be created. Make a new ``Runs`` before the next attempt, because the
                store may have created the run nevertheless.
        """
        if site not in self._open:
            run = self._found.pop(site, None) or self._create(site)
            if run.info.status != "RUNNING":
                self._client.update_run(run.info.run_id, status="RUNNING")
            self._open[site] = SiteRun(run, self._in_files)
        return self._open[site]

    def id_of(self, site: str) -> str | None:
        """Return the id of a site's run, without creating one; None if there is none."""
        if site in self._open:
            return self._open[site].run_id
        return self._found[site].info.run_id if site in self._found else None

    def terminate(self, status: str) -> None:
        """End all running runs; ``status`` is one of MLflow's."""
        for run in self._found.values():
            if run.info.status == "RUNNING":
                self._client.set_terminated(run.info.run_id, status)
        for site in reversed(self._open):  # the parent was first, so it is last
            self._client.set_terminated(self._open[site].run_id, status)

    def _search(self) -> dict[str, Run]:
        found: dict[str, Run] = {}
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                f"tags.`{RUN_TAG}` = '{self._run.run_id}'",
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                found.setdefault(run.data.tags.get(SITE_TAG, ""), run)
            token = page.token
            if not token:
                return found

    def _create(self, site: str) -> Run:
        tags = {
            "mlflow.user": _user(),
            "mlflow.source.name": self._run.job_name,
            "mlflow.source.type": "LOCAL",
            **self._tags,
            RUN_TAG: self._run.run_id,
            SITE_TAG: site,
            JOB_TAG: self._run.job_name,
        }
        name = self._name if site == SERVER else f"{self._name}-{site}"
        if site != SERVER and SERVER in self._open:
            tags[_PARENT_TAG] = self._open[SERVER].run_id
        started_ms = self._run.started_ns // 1_000_000
        created = self._client.create_run(self._experiment_id, start_time=started_ms, tags=tags, run_name=name)
        return self._described(created) if site == SERVER else created

    def _described(self, run: Run) -> Run:
        """Log the facts of the job as parameters of the parent run; equal ones may be logged again."""
        from mlflow.entities import Param

        facts = {"sites": len(self._run.sites), **self._run.facts}
        self._client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in facts.items()])
        return self._client.get_run(run.info.run_id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a name for its user
        return "unknown"
