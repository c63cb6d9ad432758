"""Jobs: the descriptions of runs, built in Python and exported as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.client.fl_model import ModelName
    from fedtrack.job.base_fed_job import BaseFedJob
    from fedtrack.job.components import (
        ALIASES,
        ANALYTIC_EVENT_TYPE,
        COMPONENTS,
        ClientAppRunner,
        ConvertToFedEvent,
        FrameworkType,
        IntimeModelSelector,
        ModelPersistor,
        Runner,
        ScriptRunner,
        ValidationJsonGenerator,
    )
    from fedtrack.job.config import CLIENT_FILE, ClientConfig, Meta, read_json
    from fedtrack.job.cross_site_eval import CrossSiteEval
    from fedtrack.job.export import export_job
    from fedtrack.job.fed_job import FedJob
    from fedtrack.job.fedavg import WEIGHTED, FedAvg
    from fedtrack.job.fedavg_job import FedAvgJob
    from fedtrack.job.files import find_file
    from fedtrack.job.initial_model import ModelRecipe
    from fedtrack.job.load import load_job
    from fedtrack.job.loaded_job import LoadedJob, LoadedSite
    from fedtrack.job.local_modules import third_party_modules
    from fedtrack.job.operator_rules import OperatorRules
    from fedtrack.job.pt_model import PTModel
    from fedtrack.job.references import refuse_secrets, resolve_references
    from fedtrack.job.resolved_receiver import built_receiver
    from fedtrack.job.workflows import executable
    from fedtrack.plugins.workflow import Workflow

_HOMES = {
    "ALIASES": "fedtrack.job.components",
    "ANALYTIC_EVENT_TYPE": "fedtrack.job.components",
    "BaseFedJob": "fedtrack.job.base_fed_job",
    "CLIENT_FILE": "fedtrack.job.config",
    "COMPONENTS": "fedtrack.job.components",
    "ClientAppRunner": "fedtrack.job.components",
    "ClientConfig": "fedtrack.job.config",
    "ConvertToFedEvent": "fedtrack.job.components",
    "CrossSiteEval": "fedtrack.job.cross_site_eval",
    "FedAvg": "fedtrack.job.fedavg",
    "FedAvgJob": "fedtrack.job.fedavg_job",
    "FedJob": "fedtrack.job.fed_job",
    "FrameworkType": "fedtrack.job.components",
    "IntimeModelSelector": "fedtrack.job.components",
    "LoadedJob": "fedtrack.job.loaded_job",
    "LoadedSite": "fedtrack.job.loaded_job",
    "Meta": "fedtrack.job.config",
    "ModelName": "fedtrack.client.fl_model",
    "ModelPersistor": "fedtrack.job.components",
    "ModelRecipe": "fedtrack.job.initial_model",
    "OperatorRules": "fedtrack.job.operator_rules",
    "PTModel": "fedtrack.job.pt_model",
    "Runner": "fedtrack.job.components",
    "ScriptRunner": "fedtrack.job.components",
    "ValidationJsonGenerator": "fedtrack.job.components",
    "WEIGHTED": "fedtrack.job.fedavg",
    "Workflow": "fedtrack.plugins.workflow",
    "built_receiver": "fedtrack.job.resolved_receiver",
    "executable": "fedtrack.job.workflows",
    "export_job": "fedtrack.job.export",
    "find_file": "fedtrack.job.files",
    "load_job": "fedtrack.job.load",
    "read_json": "fedtrack.job.config",
    "refuse_secrets": "fedtrack.job.references",
    "resolve_references": "fedtrack.job.references",
    "third_party_modules": "fedtrack.job.local_modules",
}

__all__ = [
    "ALIASES",
    "ANALYTIC_EVENT_TYPE",
    "CLIENT_FILE",
    "COMPONENTS",
    "WEIGHTED",
    "BaseFedJob",
    "ClientAppRunner",
    "ClientConfig",
    "ConvertToFedEvent",
    "CrossSiteEval",
    "FedAvg",
    "FedAvgJob",
    "FedJob",
    "FrameworkType",
    "IntimeModelSelector",
    "LoadedJob",
    "LoadedSite",
    "Meta",
    "ModelName",
    "ModelPersistor",
    "ModelRecipe",
    "OperatorRules",
    "PTModel",
    "Runner",
    "ScriptRunner",
    "ValidationJsonGenerator",
    "Workflow",
    "built_receiver",
    "executable",
    "export_job",
    "find_file",
    "load_job",
    "read_json",
    "refuse_secrets",
    "resolve_references",
    "third_party_modules",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
