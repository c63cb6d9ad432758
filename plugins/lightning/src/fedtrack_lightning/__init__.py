"""fedtrack inside PyTorch Lightning: ``FedtrackLogger``, and ``patch`` for federated scripts.

The other names are those of the client API, so that a script of FLARE needs only another import::

    import fedtrack_lightning as flare

    flare.patch(trainer)
    while flare.is_running():
        trainer.validate(model)  # the global model
        trainer.fit(model)
"""

from fedtrack.client import (
    AnalyticsDataType,
    FLModel,
    ParamsType,
    get_config,
    get_job_id,
    get_site_name,
    get_task_name,
    init,
    is_evaluate,
    is_running,
    is_submit_model,
    is_train,
    log,
    receive,
    send,
    shutdown,
    system_info,
)
from fedtrack_lightning.federated import FLCallback, patch
from fedtrack_lightning.fedtrack_logger import FedtrackLogger
from fedtrack_lightning.restore_state import RestoreState

#: FLARE's name of the logger.
logger = FedtrackLogger

__all__ = [
    "AnalyticsDataType",
    "FLCallback",
    "FLModel",
    "FedtrackLogger",
    "ParamsType",
    "RestoreState",
    "get_config",
    "get_job_id",
    "get_site_name",
    "get_task_name",
    "init",
    "is_evaluate",
    "is_running",
    "is_submit_model",
    "is_train",
    "log",
    "logger",
    "patch",
    "receive",
    "send",
    "shutdown",
    "system_info",
]
