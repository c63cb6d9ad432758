"""Federated experiment tracking as plugins.

``import fedtrack`` is cheap: names are loaded when they are first used, and no tracking or training framework is
imported at all.
"""

from __future__ import annotations

from fedtrack.lazy import lazy_names

#: Not typing's: ``python -m fedtrack`` imports this module while a file of the current directory can take the place of
#: one of the standard library that is not loaded yet.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from fedtrack.connection.connect import connect
    from fedtrack.connection.connected_run import ConnectedRun
    from fedtrack.errors import FedtrackError, Permanent, Transient
    from fedtrack.job.base_fed_job import BaseFedJob
    from fedtrack.job.components import ClientAppRunner, ScriptRunner
    from fedtrack.job.cross_site_eval import CrossSiteEval
    from fedtrack.job.fed_job import FedJob
    from fedtrack.job.fedavg import FedAvg
    from fedtrack.job.fedavg_job import FedAvgJob
    from fedtrack.plugins.example import Example
    from fedtrack.plugins.markers import hookimpl
    from fedtrack.plugins.workflow import Workflow
    from fedtrack.runs.result import RunResult
    from fedtrack.tracking.events import Batch
    from fedtrack.tracking.receiver import Receiver, ReceiverOptions, Results, RunInfo
    from fedtrack.tracking.writer import Writer

_HOMES = {
    "BaseFedJob": "fedtrack.job.base_fed_job",
    "Batch": "fedtrack.tracking.events",
    "ClientAppRunner": "fedtrack.job.components",
    "ConnectedRun": "fedtrack.connection.connected_run",
    "CrossSiteEval": "fedtrack.job.cross_site_eval",
    "Example": "fedtrack.plugins.example",
    "FedAvg": "fedtrack.job.fedavg",
    "FedAvgJob": "fedtrack.job.fedavg_job",
    "FedJob": "fedtrack.job.fed_job",
    "FedtrackError": "fedtrack.errors",
    "Permanent": "fedtrack.errors",
    "Receiver": "fedtrack.tracking.receiver",
    "ReceiverOptions": "fedtrack.tracking.receiver",
    "Results": "fedtrack.tracking.receiver",
    "RunInfo": "fedtrack.tracking.receiver",
    "RunResult": "fedtrack.runs.result",
    "ScriptRunner": "fedtrack.job.components",
    "Transient": "fedtrack.errors",
    "Workflow": "fedtrack.plugins.workflow",
    "Writer": "fedtrack.tracking.writer",
    "connect": "fedtrack.connection.connect",
    "hookimpl": "fedtrack.plugins.markers",
}

__all__ = [
    "BaseFedJob",
    "Batch",
    "ClientAppRunner",
    "ConnectedRun",
    "CrossSiteEval",
    "Example",
    "FedAvg",
    "FedAvgJob",
    "FedJob",
    "FedtrackError",
    "Permanent",
    "Receiver",
    "ReceiverOptions",
    "Results",
    "RunInfo",
    "RunResult",
    "ScriptRunner",
    "Transient",
    "Workflow",
    "Writer",
    "connect",
    "hookimpl",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
