"""Upload: the content of a batch is sent to a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedtrack.errors import Permanent
from fedtrack.files import scratch_folder
from fedtrack_mlflow import calls
from fedtrack_mlflow.content import Content, File
from fedtrack_mlflow.failures import failure

if TYPE_CHECKING:
    from mlflow import MlflowClient


def send(client: MlflowClient, run_id: str, content: Content, folder: Path) -> None:
    """Log the table of names, parameters, metrics, tags and files, in this order.

    Args:
        client: MLflow's client.
        run_id: The run.
        content: What is logged.
        folder: A folder for copies of the files, which are deleted at the end.

    Raises:
        Permanent: The records at ``indices`` have artifacts that MLflow refuses; all others are stored.
        Exception: mlflow's own exception, if it refuses anything else.
    """
    from mlflow.entities import Param, RunTag

    for key, value in content.names.items():  # first: after a crash, the names that are in use must be known
        client.set_tag(run_id, key, value)
    params = [Param(key, value) for key, value in content.params.items()]
    for some_params in calls.chunks(params, calls.PARAMS_OR_TAGS, lambda item: item.key + item.value):
        client.log_batch(run_id, params=some_params)
    for some_metrics in calls.chunks(content.metrics, calls.METRICS, lambda item: item.key):
        client.log_batch(run_id, metrics=some_metrics)
    tags = [RunTag(key, value) for key, value in content.tags.items()]
    for some_tags in calls.chunks(tags, calls.PARAMS_OR_TAGS, lambda item: item.key + item.value):
        client.log_batch(run_id, tags=some_tags)
    if content.files:
        with scratch_folder(folder) as scratch:
            _send_files(client, run_id, content.files, scratch)


def _send_files(client: MlflowClient, run_id: str, files: Sequence[File], scratch: Path) -> None:
    refused: dict[int, str] = {}
    for file in files:
        try:
            _send_file(client, run_id, file, scratch)
        except Exception as error:
            reason = failure(error, f"MLflow cannot hold the artifact {file.path!r}")
            if not isinstance(reason, Permanent):
                raise
            refused[file.index] = str(reason)
    if refused:
        raise Permanent("; ".join(refused.values()), refused)


def _send_file(client: MlflowClient, run_id: str, file: File, scratch: Path) -> None:
    folder, _, name = file.path.rpartition("/")
    source = scratch / name
    source.write_bytes(file.read())
    try:
        client.log_artifact(run_id, str(source), folder or None)
    finally:
        source.unlink()
