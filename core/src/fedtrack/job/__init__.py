"""What the user asks for: a job, built in Python and exported as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.client.fl_model import ModelName
    from fedtrack.job.base_fed_job import BaseFedJob
    from fedtrack.job.components import (
        ANALYTIC_EVENT_TYPE,
        ClientAppRunner,
        ConvertToFedEvent,
        FrameworkType,
        IntimeModelSelector,
        ModelPersistor,
        ScriptRunner,
        ValidationJsonGenerator,
    )
    from fedtrack.job.cross_site_eval import CrossSiteEval
    from fedtrack.job.fed_job import FedJob
    from fedtrack.job.fedavg import FedAvg
    from fedtrack.job.fedavg_job import FedAvgJob
    from fedtrack.job.pt_model import PTModel
    from fedtrack.plugins.workflow import Workflow

_HOMES = {
    "ANALYTIC_EVENT_TYPE": "fedtrack.job.components",
    "BaseFedJob": "fedtrack.job.base_fed_job",
    "ClientAppRunner": "fedtrack.job.components",
    "ConvertToFedEvent": "fedtrack.job.components",
    "CrossSiteEval": "fedtrack.job.cross_site_eval",
    "FedAvg": "fedtrack.job.fedavg",
    "FedAvgJob": "fedtrack.job.fedavg_job",
    "FedJob": "fedtrack.job.fed_job",
    "FrameworkType": "fedtrack.job.components",
    "IntimeModelSelector": "fedtrack.job.components",
    "ModelName": "fedtrack.client.fl_model",
    "ModelPersistor": "fedtrack.job.components",
    "PTModel": "fedtrack.job.pt_model",
    "ScriptRunner": "fedtrack.job.components",
    "ValidationJsonGenerator": "fedtrack.job.components",
    "Workflow": "fedtrack.plugins.workflow",
}

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
    "Workflow",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
