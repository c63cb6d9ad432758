"""PartialAverage: the unrounded average of some of a round's sites, made in the worker that ran them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fedtrack.errors import ModelError
from fedtrack.json_text import decode_json
from fedtrack_local.models.arrays import Array
from fedtrack_local.models.handed_model import seal
from fedtrack_local.models.params import load_metadata, load_params, save_params
from fedtrack_local.room import when_there_is_room

_WEIGHT, _WEIGHTS = "fedtrack.weight", "fedtrack.weights"


@dataclass(frozen=True, slots=True)
class PartialAverage:
    """The average of a WeightedAggregator, not yet rounded to the model's dtypes.

    Attributes:
        weight: The sum of the weights in it.
        tensors: The accumulator's state of each tensor of the model: one array or two.
        weights: The sum of the weights of each tensor, where sites may leave tensors out; otherwise empty.
    """

    weight: float
    tensors: Mapping[str, Sequence[Array]]
    weights: Mapping[str, float] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it as a safetensors file, in one step.

        Raises:
            WorkspaceError: The file cannot be written.
        """
        arrays, metadata = self._content()
        when_there_is_room(lambda: save_params(arrays, path, metadata))

    def seal(self, memory: int) -> int | None:
        """Return the descriptor of a file in memory; see ``handed_model.seal``."""
        arrays, metadata = self._content()
        return seal(arrays, memory, metadata)

    def _content(self) -> tuple[dict[str, Array], dict[str, str]]:
        arrays = {f"{index}/{name}": item for name, state in self.tensors.items() for index, item in enumerate(state)}
        weights = msgspec.json.encode({name: weight.hex() for name, weight in self.weights.items()}).decode()
        return arrays, {_WEIGHT: self.weight.hex(), _WEIGHTS: weights}

    @staticmethod
    def load(path: Path) -> PartialAverage:
        """Map a file that ``save`` has written.

        Raises:
            ModelError: The file is not a partial average.
        """
        return PartialAverage.of(load_params(path), load_metadata(path), str(path))

    @staticmethod
    def of(arrays: Mapping[str, Array], metadata: Mapping[str, str], name: str) -> PartialAverage:
        """Return the content of a file that ``save`` or ``seal`` has written.

        Args:
            arrays: Its tensors, in the order of saving.
            metadata: The texts of its header.
            name: The file, for error messages.

        Raises:
            ModelError: It is not a partial average.
        """
        tensors: dict[str, list[Array]] = {}
        for key, array in arrays.items():
            tensors.setdefault(key.partition("/")[2], []).append(array)  # in the order of saving: 0 before 1
        try:
            weights = decode_json(metadata.get(_WEIGHTS, "{}"), dict[str, str])
            found = {name: float.fromhex(text) for name, text in weights.items()}
            return PartialAverage(float.fromhex(metadata[_WEIGHT]), tensors, found)
        except (KeyError, ValueError, msgspec.MsgspecError):
            raise ModelError(f"{name} is no partial average: it does not say its weight.") from None
