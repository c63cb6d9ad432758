"""What the user asks for: a job, built in Python and exported as JSON."""

from fedtrack.federated.cross_site_eval import CrossSiteEval
from fedtrack.federated.fedavg import FedAvg
from fedtrack.federated.fl_model import ModelName
from fedtrack.job.components import (
    ClientAppRunner,
    ConvertToFedEvent,
    FrameworkType,
    IntimeModelSelector,
    ModelPersistor,
    ScriptRunner,
    ValidationJsonGenerator,
)
from fedtrack.job.fed_job import BaseFedJob, FedAvgJob, FedJob
from fedtrack.job.pt_model import PTModel
from fedtrack.tracking.events import LOCAL_EVENT as ANALYTIC_EVENT_TYPE

__all__ = [
    "ANALYTIC_EVENT_TYPE",
    "BaseFedJob",
    "ClientAppRunner",
    "ConvertToFedEvent",
    "CrossSiteEval",
    "FedAvg",
    "FedAvgJob",
    "FedJob",
    "FrameworkType",
    "IntimeModelSelector",
    "ModelName",
    "ModelPersistor",
    "PTModel",
    "ScriptRunner",
    "ValidationJsonGenerator",
]
