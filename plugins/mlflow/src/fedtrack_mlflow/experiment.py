"""Experiments: the experiment of the runs is found or created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedtrack.errors import ConfigError
from fedtrack_mlflow import commands
from fedtrack_mlflow.address import Address

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The tag that lets MLflow 3 open the experiment with the list of its runs.
_KIND = {"mlflow.experimentKind": "custom_model_development"}


def ensure(client: MlflowClient, name: str, tags: Mapping[str, str], address: Address) -> str:
    """Return the id of the experiment called ``name`` and set its tags.

    Raises:
        ConfigError: It was deleted; MLflow keeps the name of a deleted experiment.
        MlflowException: The store cannot be reached or refuses the name or a tag.
    """
    experiment_id = _find(client, name, address) or _create(client, name, address)
    for key, value in tags.items():
        client.set_experiment_tag(experiment_id, key, value)
    return experiment_id


def _find(client: MlflowClient, name: str, address: Address) -> str | None:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return None
    if experiment.lifecycle_stage != "active":
        raise ConfigError(
            f"The MLflow experiment {name!r} in {address.shown} was deleted, and MLflow keeps its name: restore "
            f"it with `{commands.restore_experiment(address.shown, experiment.experiment_id)}`, or give "
            "MLflowReceiver another kw_args['experiment_name']."
        )
    return str(experiment.experiment_id)


def _create(client: MlflowClient, name: str, address: Address) -> str:
    from mlflow.exceptions import MlflowException

    try:
        # Without the kind, MLflow 3 opens an experiment on its page for language models, which is empty.
        return str(client.create_experiment(name, artifact_location=address.artifacts, tags=dict(_KIND)))
    except MlflowException:
        # Another receiver may have created it meanwhile, or the answer to an earlier attempt was lost.
        if (experiment_id := _find(client, name, address)) is None:
            raise
        return experiment_id
