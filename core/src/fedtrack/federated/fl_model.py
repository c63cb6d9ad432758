"""FLModel: what server and sites hand each other (FLARE's ``nvflare.client.FLModel``, same names and defaults)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ParamsType(StrEnum):
    """Whether ``params`` are a whole model or the difference to the model that was received."""

    FULL = "FULL"
    DIFF = "DIFF"


class MetaKey:
    """Keys of ``FLModel.meta`` that fedtrack itself reads; any other key travels untouched."""

    #: How many optimizer steps a site took: the weight of its result in an average.
    NUM_STEPS_CURRENT_ROUND = "NUM_STEPS_CURRENT_ROUND"
    #: Name of the model that a ``submit_model`` task asks for.
    SUBMIT_MODEL_NAME = "submit_model_name"


@dataclass
class FLModel:
    """A model, its metrics and what belongs to them.

    Attributes:
        params_type: Full parameters or differences; FULL if there are params and nothing else is said.
        params: Tensors by name; torch tensors or numpy arrays.
        optimizer_params: State of the optimizer; travels with the model, is not averaged.
        metrics: Scores of the *received* model on the site's data, by name.
        start_round: The job's first round.
        current_round: The round this model belongs to, counted from 0; None outside rounds.
        total_rounds: How many rounds the job has.
        meta: Anything msgpack can hold; see MetaKey for the keys that fedtrack reads.
    """

    params_type: ParamsType | None = None
    params: dict[str, Any] | None = None
    optimizer_params: dict[str, Any] | None = None
    metrics: dict[str, float] | None = None
    start_round: int | None = 0
    current_round: int | None = None
    total_rounds: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.params_type is not None:
            self.params_type = ParamsType(self.params_type)
        elif self.params is not None:
            self.params_type = ParamsType.FULL
        if self.meta is None:
            self.meta = {}
