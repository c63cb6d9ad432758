"""CrossSiteEval: the job's description of cross-site evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from fedtrack.errors import ConfigError
from fedtrack.job.paths import check_inside
from fedtrack.job.values import Name, Timeout, check_seconds, check_unique
from fedtrack.plugins.workflow import Workflow


class CrossSiteEval(Workflow):
    """Cross-site evaluation: every site scores the server's models and every other site's model on its own data.

    Names and meanings are those of FLARE's ``CrossSiteEval`` and ``CrossSiteModelEval``. It usually follows FedAvg.

    First every site is asked for its best local model (task ``submit_model``). Then every site scores (task
    ``validate``) the server's last model, its best one if one was selected, and each submitted model. If a job has not
    trained, its initial model is scored. ``FLModel.meta`` has the name of the requested model
    (``submit_model_name``, always ``best_model``) and the owner of the scored model (``_model_owner_``).

    The results are in the file of the job's ValidationJsonGenerator and in the run's summary. If a job evaluates
    several times, that file has the last results, and each evaluation also has a file with its id at the end of the
    name; so has the folder of the models that were submitted to a later evaluation. The server also logs the results as
    ``cross_val/<data site>/<model owner>/<metric>``; the step is the number of trained rounds. The owners of the
    server's models are called ``SRV_FL_global_model`` and ``SRV_best_FL_global_model``.

    Both tasks are optional: a site that submits no usable model, or does not score, leaves a gap and a warning. A
    site that dies has failed as in any other workflow, and ``min_clients`` decides whether the job goes on.

    Attributes:
        submit_model_timeout: Seconds within which the sites must submit their models; 0 means that only the job's
            ``idle_timeout`` limits the time.
        validation_timeout: Seconds within which the sites must score one model; 0 means that only the job's
            ``idle_timeout`` limits the time. A site that is too late is not asked to score the models that follow.
        participating_clients: The sites that submit and score; None means all.
        cross_val_dir: Folder in the run's results that keeps the submitted models, in ``models``.
        cleanup_models: Whether to delete the submitted models at the end.
        submit_model_task_name: ``""`` asks no site for a model, for scripts that cannot submit one: only the
            server's models are scored.
        persistor_id: Accepted for jobs written for FLARE; a job has one persistor.
        model_locator_id: Accepted for jobs written for FLARE; the server's models are those of the persistor.
        formatter_id: Accepted for jobs written for FLARE; the run's summary shows the results.
        task_check_period: Accepted for jobs written for FLARE; answers are taken as they come.
        validation_task_name: Accepted for jobs written for FLARE; only ``validate`` exists.
        wait_for_clients_timeout: Accepted for jobs written for FLARE; every site is there when a workflow starts.
    """

    ignored: ClassVar[frozenset[str]] = frozenset(
        {"persistor_id", "model_locator_id", "formatter_id", "task_check_period", "validation_task_name"}
        | {"wait_for_clients_timeout"}
    )

    submit_model_timeout: Timeout = 600.0
    validation_timeout: Timeout = 6000.0
    participating_clients: list[Name] | None = None
    cross_val_dir: str = "cross_site_val"
    cleanup_models: bool = False
    submit_model_task_name: Literal["submit_model", ""] = "submit_model"
    persistor_id: str = ""
    model_locator_id: str = ""
    formatter_id: str = ""
    task_check_period: float = 0.5
    validation_task_name: Literal["validate"] = "validate"
    wait_for_clients_timeout: float = 300

    def __post_init__(self) -> None:
        for name in ("submit_model_timeout", "validation_timeout"):
            check_seconds(f"CrossSiteEval: {name}", getattr(self, name), zero=True)
        if self.participating_clients is not None:
            check_unique("CrossSiteEval: participating_clients", self.participating_clients, "sites")
        check_inside("CrossSiteEval: cross_val_dir", self.cross_val_dir)

    def tasks(self) -> frozenset[str]:
        """Return the tasks that the sites are asked to do."""
        return frozenset({"validate", self.submit_model_task_name} - {""})

    def without_effect(self, sites: Sequence[str]) -> list[str]:
        """Return why arguments have no effect."""
        if self.submit_model_task_name:
            return []
        found = {"submit_model_timeout": self.submit_model_timeout != 600.0, "cleanup_models": self.cleanup_models}
        return [f"{name} is set, but submit_model_task_name asks no site for a model" for name in found if found[name]]

    def check(self, sites: Sequence[str]) -> None:
        """Check that the participating sites exist."""
        if unknown := sorted(set(self.participating_clients or ()) - set(sites)):
            raise ConfigError(
                f"CrossSiteEval: participating_clients names {unknown[0]!r}, which is no site of the job: "
                f"{', '.join(sites)}."
            )
