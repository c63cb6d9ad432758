"""The receiver's arguments: FLARE's names, in FLARE's order."""

from __future__ import annotations

from typing import Any

import msgspec

from fedtrack import ReceiverOptions
from fedtrack.errors import ConfigError


class MLflowOptions(ReceiverOptions, kw_only=True, forbid_unknown_fields=True):
    """Arguments of ``MLflowReceiver``.

    Attributes:
        tracking_uri: The store: ``sqlite:///...``, ``http://...``, ``file:///...`` or a database URI. None means
            ``mlflow.db`` in the run's folder.
        kw_args: The fields of ``RunArguments``.
        artifact_location: Location of a new experiment's artifacts; a relative path is below the run's folder.
        events: See ``ReceiverOptions``; declared here to have the same position as in FLARE.
        buffer_flush_time: The most seconds between the end of one call and the next, in which records wait for others.
            A store that answers quickly is called sooner. Records are in MLflow when ``receive`` returns.
    """

    tracking_uri: str | None = None
    kw_args: dict[str, Any] | None = None
    artifact_location: str | None = None
    events: list[str] | None = None
    buffer_flush_time: float = 1


class RunArguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The keys of ``kw_args``.

    Attributes:
        experiment_name: Name of the experiment; None means the job's name.
        run_name: Name of the parent run; a site's run is called ``<run_name>-<site>``. None means the job's name.
        experiment_tags: Tags of the experiment, passed on unchanged (``mlflow.note.content`` is its description).
        run_tags: Tags of the parent run and of every site's run, passed on unchanged.
    """

    experiment_name: str | None = None
    run_name: str | None = None
    experiment_tags: dict[str, str | int | float | bool] | None = None
    run_tags: dict[str, str | int | float | bool] | None = None


def run_arguments(kw_args: dict[str, Any] | None) -> RunArguments:
    """Return ``kw_args``, checked.

    Raises:
        ConfigError: A key is unknown or a value has the wrong type.
    """
    try:
        return msgspec.convert(kw_args or {}, RunArguments)
    except msgspec.ValidationError as error:
        valid = ", ".join(RunArguments.__struct_fields__)
        raise ConfigError(f"MLflowReceiver: kw_args: {error}; valid keys: {valid}.") from None


def texts(tags: dict[str, Any] | None) -> dict[str, str]:
    """Return tags with their values as text, which MLflow requires."""
    return {key: str(value) for key, value in (tags or {}).items()}
