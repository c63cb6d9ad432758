"""What the user asks for: a job, built in Python and exported as JSON."""

from fedtrack.federated.fedavg import FedAvg
from fedtrack.job.components import (
    ConvertToFedEvent,
    FrameworkType,
    IntimeModelSelector,
    ModelPersistor,
    ScriptRunner,
    ValidationJsonGenerator,
)
from fedtrack.job.fed_job import BaseFedJob, FedAvgJob, FedJob

__all__ = [
    "BaseFedJob",
    "ConvertToFedEvent",
    "FedAvg",
    "FedAvgJob",
    "FedJob",
    "FrameworkType",
    "IntimeModelSelector",
    "ModelPersistor",
    "ScriptRunner",
    "ValidationJsonGenerator",
]
