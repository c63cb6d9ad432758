"""SiteRun: one site's MLflow run, with its id and the names in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedtrack_mlflow.filestore import FileNames
from fedtrack_mlflow.names import Names
from fedtrack_mlflow.params import ParamHistory

if TYPE_CHECKING:
    from mlflow.entities import Run


class SiteRun:
    """One site's run, which remembers names so that each key is encoded once.

    Args:
        run: The run in the store.
        in_files: Whether the store is a file store.

    Attributes:
        run_id: MLflow's id of the run.
        started_ms: The run's start in the store, milliseconds since the epoch.
        names: The names in the run.
    """

    def __init__(self, run: Run, in_files: bool) -> None:
        data = run.data
        self.run_id: str = run.info.run_id
        self.started_ms: int = run.info.start_time
        self.names = Names(data.tags, (*data.metrics, *data.params, *data.tags))
        self._metrics: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._encode: Callable[[str], str] = self.names.encode
        self._encode_tag: Callable[[str], str] = self.names.encode_tag
        self._encode_param: Callable[[str], str] = self.names.encode
        if in_files:
            self._encode = FileNames(self._encode, data.metrics)
            self._encode_tag = FileNames(self._encode_tag, data.tags)
            self._encode_param = FileNames(self._encode_param, data.params)
        self._params = ParamHistory(data.params, self._noted_param)

    def metric_name(self, key: str) -> str:
        """Return the name of a metric."""
        if (name := self._metrics.get(key)) is None:
            name = self._metrics[key] = self._noted(key, self._encode)
        return name

    def tag_name(self, key: str) -> str:
        """Return the name of a tag."""
        if (name := self._tags.get(key)) is None:
            name = self._tags[key] = self._noted(key, self._encode_tag)
        return name

    def param_name(self, key: str, value: str, time_ns: int) -> str | None:
        """Return the name under which to store a parameter's value, or None if the run has it."""
        return self._params.name(key, value, time_ns)

    def _noted_param(self, key: str) -> str:
        return self._noted(key, self._encode_param)

    def _noted(self, key: str, encode: Callable[[str], str]) -> str:
        name = encode(key)
        self.names.note(name, key)
        return name
