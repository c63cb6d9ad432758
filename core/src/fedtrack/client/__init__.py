"""The client API, which a training script imports: ``import fedtrack.client as flare``.

The names, arguments and defaults are those of ``nvflare.client``, so that a script moves over by changing its imports.
"""

from fedtrack.client.api import (
    clear,
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
from fedtrack.client.client_app import ClientApp, SiteContext
from fedtrack.client.data_type import AnalyticsDataType
from fedtrack.client.fl_model import FLModel, MetaKey, ModelName, ParamsType

__all__ = [
    "AnalyticsDataType",
    "ClientApp",
    "FLModel",
    "MetaKey",
    "ModelName",
    "ParamsType",
    "SiteContext",
    "clear",
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
    "receive",
    "send",
    "shutdown",
    "system_info",
]
