"""Experiments: the experiment of the runs is found or created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedtrack.errors import ConfigError
from fedtrack_mlflow.address import Address

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
            f"it with `mlflow experiments restore --experiment-id {experiment.experiment_id}`, or give "
            "MLflowReceiver another kw_args['experiment_name']."
        )
    return str(experiment.experiment_id)


def _create(client: MlflowClient, name: str, address: Address) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.create_experiment(name, artifact_location=address.artifacts))
    except MlflowException:
        # Another receiver may have created it meanwhile, or the answer to an earlier attempt was lost.
        if (experiment_id := _find(client, name, address)) is None:
            raise
        return experiment_id
