"""ModelStore: the server's model files, under FLARE's names, safe against crashes at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import ModelError, WorkspaceError
from fedtrack.json_text import decode_json
from fedtrack_local.models.arrays import Array
from fedtrack_local.models.params import load_metadata, load_params, save_params
from fedtrack_local.room import when_there_is_room

GLOBAL_MODEL = "FL_global_model.safetensors"
BEST_MODEL = "best_FL_global_model.safetensors"


class _Origin(msgspec.Struct, frozen=True):
    current_round: int | None = None
    metrics: dict[str, str] = {}
    result: bytes = b""


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A model as it was saved.

    Attributes:
        params: Read-only arrays by name, mapped from the file.
        current_round: The round that was saved with it, counted from 0; None for a file of another program.
        metrics: The metrics that were saved with it.
        result: The other results of its round, as they were saved with it; empty if there are none.
    """

    params: dict[str, Array]
    current_round: int | None
    metrics: dict[str, float]
    result: bytes = b""


class ModelStore:
    """Keeps the global model and the best one in a folder.

    When a save returns, the whole model is on the disk. A crash during a save leaves the previous model. A loaded
    model stays valid when its file is replaced.

    Args:
        folder: Created (0700) on the first save.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(
        self,
        params: Mapping[str, Any],
        current_round: int,
        metrics: Mapping[str, float] | None = None,
        *,
        result: bytes = b"",
    ) -> dict[str, Array]:
        """Save the model that resulted from ``current_round``; a resumed job goes on with the next round.

        Args:
            params: The model's parameters.
            current_round: Counted from 0 over the job.
            metrics: The sites' metrics of the model.
            result: The other results of the round. They are in the model's file, so that a crash keeps both or none.

        Returns:
            The same model, mapped from its file. It takes no memory of its own, and can be sent without a new file.

        Raises:
            ModelError: The params cannot be kept in a model file.
            WorkspaceError: The file cannot be written.
        """
        self._save(GLOBAL_MODEL, params, current_round, metrics, result)
        return load_params(self.folder / GLOBAL_MODEL)

    def save_best(
        self, params: Mapping[str, Any], current_round: int, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Save the model from the start of ``current_round``, which the sites scored with ``metrics``.

        Raises:
            ModelError, WorkspaceError: As ``save``.
        """
        self._save(BEST_MODEL, params, current_round, metrics)

    def load(self) -> StoredModel | None:
        """Return the model of the last finished round, or None if no round has finished.

        Raises:
            ModelError: The file is damaged.
        """
        return self._load(GLOBAL_MODEL)

    def load_best(self) -> StoredModel | None:
        """Return the best model, or None if none was selected.

        Raises:
            ModelError: The file is damaged.
        """
        return self._load(BEST_MODEL)

    def _save(
        self,
        name: str,
        params: Mapping[str, Any],
        current_round: int,
        metrics: Mapping[str, float] | None,
        result: bytes = b"",
    ) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(f"Cannot create {self.folder} for the models: {error}; check its rights.") from None
        # As text, because JSON has no NaN and no infinities.
        texts = {key: str(float(value)) for key, value in (metrics or {}).items()}
        origin = msgspec.json.encode(_Origin(current_round, texts, result)).decode()
        path, metadata = self.folder / name, {"fedtrack.origin": origin}
        when_there_is_room(lambda: save_params(params, path, metadata, durable=True))

    def _load(self, name: str) -> StoredModel | None:
        path = self.folder / name
        if not path.exists():
            return None
        text = load_metadata(path).get("fedtrack.origin", "{}")
        try:
            origin = decode_json(text, _Origin)
            metrics = {key: float(value) for key, value in origin.metrics.items()}
        except (msgspec.MsgspecError, ValueError):
            raise ModelError(f"{path} says {text[:80]!r} about its round and metrics; move the file away.") from None
        return StoredModel(load_params(path), origin.current_round, metrics, origin.result)
