"""SiteRun: one site's MLflow run, with its id and the names in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedtrack_mlflow import keys
from fedtrack_mlflow.filestore import FileNames
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
    """

    def __init__(self, run: Run, in_files: bool) -> None:
        self.run_id: str = run.info.run_id
        self.started_ms: int = run.info.start_time
        self._metrics: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._noted: set[str] = set()
        self._encode: Callable[[str], str] = keys.encode
        self._encode_tag: Callable[[str], str] = keys.encode_tag
        self._encode_param: Callable[[str], str] = keys.encode
        if in_files:
            self._encode = FileNames(keys.encode, run.data.metrics)
            self._encode_tag = FileNames(keys.encode_tag, run.data.tags)
            self._encode_param = FileNames(keys.encode, run.data.params)
        self._params = ParamHistory(run.data.params, self._encode_param)

    def metric_name(self, key: str, tags: dict[str, str]) -> str:
        """Return the name of a metric. If the key differs and no tag stores it yet, add such a tag to ``tags``."""
        if (name := self._metrics.get(key)) is None:
            name = self._metrics[key] = self._encode(key)
            self._note_origin(name, key, tags)
        return name

    def tag_name(self, key: str, tags: dict[str, str]) -> str:
        """Return the name of a tag; see ``metric_name``."""
        if (name := self._tags.get(key)) is None:
            name = self._tags[key] = self._encode_tag(key)
            self._note_origin(name, key, tags)
        return name

    def param_name(self, key: str, value: str, time_ns: int, tags: dict[str, str]) -> str | None:
        """Return the name under which to store a parameter's value, or None if the run has it; see ``metric_name``."""
        name = self._params.name(key, value, time_ns)
        if name is not None:
            self._note_origin(self._encode_param(key), key, tags)
        return name

    def _note_origin(self, name: str, key: str, tags: dict[str, str]) -> None:
        if name != key and name not in self._noted:
            self._noted.add(name)
            tags[keys.origin_tag(name)] = key.replace("\0", "\\x00")
