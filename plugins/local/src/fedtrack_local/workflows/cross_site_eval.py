"""CrossSiteEval: the sites submit their models, and every site scores every model."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import fedtrack.job as described
from fedtrack.client import MetaKey, ModelName, ParamsType
from fedtrack.errors import JobError, ModelError
from fedtrack_local.room import when_there_is_room
from fedtrack_local.workflows.cross_site_results import record_keys, write_results
from fedtrack_local.workflows.evaluation_state import EvaluationState
from fedtrack_local.workflows.workflow import SUBMIT_MODEL, VALIDATE, Answer, GroupAnswer, Server, Task

log = logging.getLogger(__name__)

#: FLARE's names of the server's models among the results.
SERVER_MODEL, SERVER_BEST_MODEL = "SRV_FL_global_model", "SRV_best_FL_global_model"

#: A model's parameters, or the file with them.
Source: TypeAlias = Mapping[str, Any] | Path

#: Folder below ``cross_val_dir`` with the submitted models, ``<site>.safetensors``.
MODELS_DIR = "models"


class CrossSiteEval(described.CrossSiteEval):
    """Cross-site evaluation: every site scores the server's models and every other site's model on its own data."""

    def execute(self, server: Server) -> None:
        """Collect the models and let the sites score each of them.

        Raises:
            JobError: Too few sites are left, there is no model to score, or no site scored one.
        """
        last, step = _last_model(server)
        state = EvaluationState.load(server.state)
        models: list[tuple[str, Source]] = [*_server_models(server, last), *self._submitted_models(server, last, state)]
        if not models:
            raise JobError("CrossSiteEval has no model to score: the server has none, and no site submitted one.")
        scorers = self._participants(server)
        try:
            for owner, source in models:
                if owner not in state.scored:
                    state.scored[owner] = self._score(server, owner, source, scorers, step)
                    state.save(server.state)
                _enter(server, owner, state.scored[owner])
                scorers = [site for site in scorers if site in state.scored[owner]]
        finally:
            # The results so far are kept, also if a site's failure ends the job.
            if server.cross_site_file is not None:
                write_results(server.cross_site, server.cross_site_file)
            if self.cleanup_models:
                shutil.rmtree(self._models_folder(server), ignore_errors=True)

    def _participants(self, server: Server) -> list[str]:
        chosen = self.participating_clients
        return [site for site in server.sites() if chosen is None or site in chosen]

    def _models_folder(self, server: Server) -> Path:
        return server.own_folder(f"{self.cross_val_dir}/{MODELS_DIR}")

    def _submitted_models(
        self, server: Server, last: Mapping[str, Any] | None, state: EvaluationState
    ) -> list[tuple[str, Path]]:
        """Return the owners and the files of the submitted models, in the job's order.

        Models that were submitted before a crash are used: the processes that had trained them are gone.
        """
        if not self.submit_model_task_name:
            return []
        folder = self._models_folder(server)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not state.collected:
            self._collect(server, last, folder, state)
        known = [site for site in server.run.sites if site in state.submitted]
        return [(site, folder / f"{site}.safetensors") for site in known]

    def _collect(self, server: Server, last: Mapping[str, Any] | None, folder: Path, state: EvaluationState) -> None:
        """Ask the sites that have not done it for their models, and keep each model as soon as it comes."""
        sites = [site for site in self._participants(server) if site not in state.submitted]
        meta = {MetaKey.SUBMIT_MODEL_NAME: ModelName.BEST_MODEL}
        task = Task(SUBMIT_MODEL, None, meta=meta, timeout=self.submit_model_timeout, optional=True)
        for answer in server.ask(task, sites):
            if isinstance(answer, GroupAnswer):
                continue  # a group has no models of its own
            try:
                _keep(answer, last, folder)
            except ModelError as error:
                log.warning("%s. The site takes part in cross-site evaluation without a model of its own.", error)
                continue
            state.submitted.append(answer.site)
            state.save(server.state)
        state.collected = True
        state.save(server.state)

    def _score(
        self, server: Server, owner: str, source: Source, scorers: list[str], step: int | None
    ) -> dict[str, dict[str, float]]:
        """Let the sites score one model; return the metrics of the sites that did, in the job's order."""
        from fedtrack_local.models.params import load_params  # needs numpy, which the description of a job does not

        params = load_params(source) if isinstance(source, Path) else source
        meta = {MetaKey.MODEL_OWNER: owner}
        task = Task(VALIDATE, params, meta=meta, timeout=self.validation_timeout, optional=True)
        answers: dict[str, dict[str, float]] = {}
        for answer in server.ask(task, scorers):
            answers |= {site: model.metrics or {} for site, model in answer.models.items()}
        if not answers:
            raise JobError(
                f"CrossSiteEval: no site scored the model of {owner}; a script scores the received model where "
                "flare.is_evaluate() is true, and sends FLModel(metrics=...)."
            )
        records: dict[str, float] = {}
        ordered = {site: answers[site] for site in scorers if site in answers}  # not in the order of the answers
        for site, metrics in ordered.items():
            records |= record_keys(site, owner, metrics)
            if not metrics:
                log.warning("%s: its score of the model of %s has no metrics; send FLModel(metrics=...)", site, owner)
        server.log_metrics(records, step)
        return ordered


def _enter(server: Server, owner: str, scores: Mapping[str, dict[str, float]]) -> None:
    """Enter the scores of one model in the results."""
    for site, metrics in scores.items():
        if metrics:
            server.cross_site.setdefault(site, {})[owner] = metrics


def _last_model(server: Server) -> tuple[Mapping[str, Any] | None, int | None]:
    """Return the last global model, mapped, and the number of its rounds; before the first round the initial model."""
    stored = server.models.load()
    if stored is None:
        return server.initial_params(), 0
    return stored.params, None if stored.current_round is None else stored.current_round + 1


def _server_models(server: Server, last: Mapping[str, Any] | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if last is not None:
        yield SERVER_MODEL, last
    if (best := server.models.load_best()) is not None:
        yield SERVER_BEST_MODEL, best.params


def _keep(answer: Answer, last: Mapping[str, Any] | None, folder: Path) -> None:
    """Copy a submitted model to ``folder``, where it is kept after the run.

    Raises:
        ModelError: The answer has no model that other sites can load.
    """
    from fedtrack_local.averaging.aggregator import check_fits  # both need numpy
    from fedtrack_local.models.params import save_params

    params = answer.model.params
    if params is None:
        raise ModelError(f"{answer.site}: its answer to the task 'submit_model' has no params")
    if answer.model.params_type is ParamsType.DIFF:
        raise ModelError(f"{answer.site}: it submitted a difference; submit the whole model")
    if last is not None:
        # A model that does not fit would end the scripts of all the sites that load it.
        check_fits(answer.site, params, last)
    when_there_is_room(lambda: save_params(params, folder / f"{answer.site}.safetensors"))
