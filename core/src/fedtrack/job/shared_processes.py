"""Shared processes: the check of a job whose processes work for many sites (ClientAppRunner)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedtrack.errors import ConfigError
from fedtrack.job.components import Component, ModelPersistor
from fedtrack.job.config import CLIENT_FILE, META_FILE, SERVER_FILE
from fedtrack.job.cross_site_eval import CrossSiteEval
from fedtrack.job.fedavg import WEIGHTED, FedAvg
from fedtrack.job.loaded_job import LoadedSite
from fedtrack.job.named_items import only
from fedtrack.plugins import registry
from fedtrack.plugins.workflow import Workflow
from fedtrack.tracking.receiver import Receiver


def check_client_app(
    folder: Path,
    sites: Sequence[LoadedSite],
    components: Mapping[str, Component | Receiver],
    workflows: Mapping[str, Workflow],
) -> None:
    """Refuse settings that processes for many sites do not support.

    Raises:
        ConfigError: The job has such a setting.
    """
    hosted = [site for site in sites if site.client_app is not None]
    if not hosted:
        return
    first = hosted[0]
    other = next((site for site in sites if (site.custom, site.client_app) != (first.custom, first.client_app)), None)
    if other is not None:
        raise ConfigError(
            f"{folder / META_FILE}: $.deploy_map gives {other.name!r} another app than {first.name!r}; "
            "with ClientAppRunner all sites share one."
        )
    if first.receivers:
        raise ConfigError(
            f"{first.custom.parent / CLIENT_FILE}: the receiver {next(iter(first.receivers))!r} is placed at the "
            "sites; with ClientAppRunner receivers run on the server."
        )
    for id_, item in workflows.items():
        if isinstance(item, CrossSiteEval) and item.submit_model_task_name:
            raise ConfigError(
                f"{folder}: the workflow {id_!r} asks every site for a model of its own, which those of a "
                "ClientAppRunner do not have; use CrossSiteEval(submit_model_task_name='')."
            )
        if isinstance(item, FedAvg) and item.aggregator != WEIGHTED and not _can_merge(item.aggregator):
            raise ConfigError(
                f"{folder}: the aggregator {item.aggregator!r} of the workflow {id_!r} cannot merge what the processes "
                "of a ClientAppRunner have averaged; use ScriptRunner, or an aggregator that can merge, such as "
                f"{WEIGHTED!r}."
            )
    persistor = only(folder / SERVER_FILE, components, ModelPersistor)
    if persistor is None or persistor.initial_model is None:
        raise ConfigError(f"{folder}: the job has no initial model; with ClientAppRunner all sites begin with one.")


def _can_merge(name: str) -> bool:
    cls = registry().aggregators.get(name)  # an unknown one is refused by the workflow's own check
    return cls is None or bool(getattr(cls, "can_merge", False))
