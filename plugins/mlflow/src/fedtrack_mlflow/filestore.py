"""File stores: two corrections for MLflow's deprecated file store.

In a file store ``loss`` is a file and ``loss/top`` is in a folder: a run cannot have both, so names are encoded. Unlike
a database, a file store appends a point that is logged again, so points that the run has already are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fedtrack_mlflow import keys
from fedtrack_mlflow.points import identity

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric


class FileNames:
    """Encodes keys so that no name is the folder of another name.

    Args:
        encode: Returns the name of a key in other stores.
        taken: The existing names, in any order.
    """

    def __init__(self, encode: Callable[[str], str], taken: Iterable[str]) -> None:
        self._encode = encode
        self._files: set[str] = set()
        self._folders: set[str] = set()
        for name in taken:
            self._take(name)

    def __call__(self, key: str) -> str:
        """Return the name of ``key``, in which ``/`` is encoded only if it would collide with another name."""
        name = self._encode(key)
        if name in self._folders or not self._files.isdisjoint(_folders(name)):
            name = keys.encode_flat(name)
        self._take(name)
        return name

    def _take(self, name: str) -> None:
        self._files.add(name)
        self._folders.update(_folders(name))


def unseen(client: MlflowClient, run_id: str, points: list[Metric]) -> list[Metric]:
    """Return the points that the run does not have yet, in their order."""
    existing = client.get_run(run_id).data.metrics.keys() & {point.key for point in points}
    seen = {identity(point) for name in existing for point in client.get_metric_history(run_id, name)}
    return [point for point in points if identity(point) not in seen]


def _folders(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: index + 1]) for index in range(len(parts))]
