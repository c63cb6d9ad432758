"""MLflowWriter: a writer with the calls of MLflow, for any receiver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from fedtrack import Writer
from fedtrack.tracking import Refused
from fedtrack.tracking.records import Artifact, Metric, Param, Record, Tag, Text


class MLflowWriter(Writer):
    """The logging functions of MLflow's fluent API; create one after ``fedtrack.client.init()``.

    A bad value becomes a counted ``Rejected`` record and never raises; a wrong keyword is a TypeError.
    """

    name: ClassVar[str] = "mlflow"
    summary: ClassVar[str] = "MLflow's log_metric, log_param, set_tag, log_text and log_artifact."
    supports: ClassVar[frozenset[type[Record]]] = frozenset({Metric, Param, Tag, Text, Artifact})

    def log_param(self, key: str, value: Any) -> None:
        """Log a hyperparameter."""
        self.record_param(key, value)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log several hyperparameters."""
        for key, value in self._items("params", values):
            self.record_param(key, value)

    def log_metric(self, key: str, value: Any, step: int | None = None) -> None:
        """Log one scalar; NaN and infinities are kept."""
        self.record_metric(key, value, step)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log several scalars of one step."""
        self.record_metrics(dict(self._items("metrics", metrics)), step)

    def log_text(self, text: str, artifact_file_path: str) -> None:
        """Log text as the file ``artifact_file_path``; a later text for the same path replaces it."""
        self.record_text(artifact_file_path, text)

    def set_tag(self, key: str, tag: Any) -> None:
        """Set a tag on this site's run; a later value replaces an earlier one."""
        self.record_tag(key, tag)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set several tags on this site's run."""
        for key, tag in self._items("tags", tags):
            self.record_tag(key, tag)

    def log_artifact(self, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Log a copy of the file ``local_path``, in the folder ``artifact_path`` if given."""
        try:
            source = Path(local_path)
            target = source.name if artifact_path is None else f"{artifact_path.rstrip('/')}/{source.name}"
            data = source.read_bytes()
        except Exception as error:  # a bad argument or a failing disk must not stop the training
            self._append(str(local_path), _refuse(f"the file cannot be read: {type(error).__name__}: {error}"))
            return
        self.record_artifact(target, data)

    def log_dict(self, dictionary: Mapping[str, Any], artifact_file: str) -> None:
        """Log a mapping as the JSON file ``artifact_file``.

        Values that JSON cannot hold are stored as their ``str()``.
        """
        try:
            text = json.dumps(dictionary, indent=2, default=str)
        except Exception as error:
            self._append(artifact_file, _refuse(f"the dictionary is no JSON: {type(error).__name__}: {error}"))
            return
        self.record_text(artifact_file, text)

    def flush(self) -> None:
        """Do nothing: a record is stored when its log call returns."""

    def _items(self, what: str, values: Any) -> list[tuple[Any, Any]]:
        try:
            return list(values.items())
        except Exception:
            self._append(what, _refuse(f"{what} is a {type(values).__name__}; it must be a mapping"))
            return []


def _refuse(reason: str) -> Any:
    def build() -> Any:
        raise Refused(reason)

    return build
