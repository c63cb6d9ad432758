"""PTModel: gives a job its initial model with one call, as jobs written for FLARE do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class PTModel:
    """An initial model for the server, where a ModelPersistor stores it and the models that result from it.

    ``job.to_server(PTModel(net))`` returns ``{"persistor_id": ...}``, for workflows that ask for the persistor's id.

    Attributes:
        model: A ``torch.nn.Module``, a dict of tensors, or ``"model.py:Net"``; see ``FedAvgJob``.
    """

    model: Any
