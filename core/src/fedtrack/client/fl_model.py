"""FLModel: the message between server and sites (FLARE's ``nvflare.client.FLModel``, same names and defaults)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fedtrack.errors import ModelError


class ParamsType(StrEnum):
    """Whether ``params`` are a whole model, or the difference from the received model."""

    FULL = "FULL"
    DIFF = "DIFF"


class MetaKey:
    """Keys of ``FLModel.meta`` that fedtrack itself reads; other keys are passed on unchanged."""

    #: The number of optimizer steps that a site took, which is the weight of its result in an average.
    NUM_STEPS_CURRENT_ROUND = "NUM_STEPS_CURRENT_ROUND"
    #: Name of the model that a ``submit_model`` task asks for.
    SUBMIT_MODEL_NAME = "submit_model_name"
    #: The owner of the model in a ``validate`` task of cross-site evaluation: a site, or ``SRV_...`` for the server.
    MODEL_OWNER = "_model_owner_"


class ModelName:
    """The models that a ``submit_model`` task can ask for, under ``MetaKey.SUBMIT_MODEL_NAME``."""

    BEST_MODEL = "best_model"
    FINAL_MODEL = "final_model"


@dataclass(eq=False)  # comparing dicts of tensors has no single truth value
class FLModel:
    """A model, its metrics, its round and its meta data.

    Attributes:
        params_type: Full parameters or differences; FULL by default if there are params.
        params: Tensors by name; torch tensors or numpy arrays.
        optimizer_params: State of the optimizer; travels with the model, is not averaged.
        metrics: Scores of the *received* model on the site's data, by name.
        start_round: The first round of the workflow.
        current_round: The round this model belongs to, counted from 0; None outside rounds.
        total_rounds: The number of rounds of the job at the end of the workflow.
        meta: Values that msgpack can hold, by name; see MetaKey for the keys that fedtrack reads.

    Raises:
        ModelError: An argument has the wrong type, or there is a params_type but no params.
    """

    params_type: ParamsType | None = None
    # Tensors stay out of the repr: scripts print their models.
    params: dict[str, Any] | None = field(default=None, repr=False)
    optimizer_params: dict[str, Any] | None = field(default=None, repr=False)
    metrics: dict[str, float] | None = None
    start_round: int | None = 0
    current_round: int | None = None
    total_rounds: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.meta is None:  # scripts written for FLARE pass it
            self.meta = {}
        for name in ("params", "optimizer_params", "metrics", "meta"):
            _check_dict(name, getattr(self, name))
        for name in ("start_round", "current_round", "total_rounds"):
            _check_count(name, getattr(self, name))
        self.params_type = self._checked_type()

    def _checked_type(self) -> ParamsType | None:
        if self.params_type is None:
            return None if self.params is None else ParamsType.FULL
        if self.params_type not in list(ParamsType):
            valid = ", ".join(ParamsType)
            raise ModelError(f"FLModel got params_type={self.params_type!r}; valid types are {valid}.")
        if self.params is None:
            raise ModelError(f"FLModel got params_type={self.params_type!s} but no params; give both or neither.")
        return ParamsType(self.params_type)


def _check_dict(name: str, value: object) -> None:
    if value is not None and not isinstance(value, dict):
        raise ModelError(f"FLModel got {name} of type {type(value).__name__}; pass a dict by name, or None.")


def _check_count(name: str, value: object) -> None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return
    raise ModelError(f"FLModel got {name}={value!r}; pass an int from 0 on, or None.")
