"""PartialAverage: the results of some of a round's sites, summed up where they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedtrack.errors import ModelError
from fedtrack_local.models.params import Array, load_metadata, load_params, save_params

_WEIGHT = "fedtrack.weight"


@dataclass(frozen=True, slots=True)
class PartialAverage:
    """What a WeightedAggregator has accepted, not yet rounded to the model's dtypes.

    Attributes:
        weight: The sum of the weights in it.
        tensors: For each tensor of the model the state of its accumulator: one array or two.
    """

    weight: float
    tensors: Mapping[str, Sequence[Array]]

    def save(self, path: Path) -> None:
        """Write it as a safetensors file, in one step.

        Raises:
            WorkspaceError: The file cannot be written.
        """
        arrays = {f"{index}/{name}": item for name, state in self.tensors.items() for index, item in enumerate(state)}
        save_params(arrays, path, {_WEIGHT: self.weight.hex()})

    @staticmethod
    def load(path: Path) -> PartialAverage:
        """Map such a file.

        Raises:
            ModelError: It is none.
        """
        tensors: dict[str, list[Array]] = {}
        for key, array in load_params(path).items():
            tensors.setdefault(key.partition("/")[2], []).append(array)  # in the order of saving: 0 before 1
        try:
            return PartialAverage(float.fromhex(load_metadata(path)[_WEIGHT]), tensors)
        except (KeyError, ValueError):
            raise ModelError(f"{path} is no partial average: it does not say its weight.") from None
