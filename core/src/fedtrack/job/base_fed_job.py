"""BaseFedJob: a job with the usual components."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fedtrack.errors import ConfigError
from fedtrack.job.components import ConvertToFedEvent, IntimeModelSelector, ValidationJsonGenerator
from fedtrack.job.default_receiver import default_receiver
from fedtrack.job.fed_job import FedJob
from fedtrack.job.keywords import checked_keywords
from fedtrack.spool.spool import DEFAULT_LIMIT_BYTES, Durability
from fedtrack.tracking.receiver import Receiver
from fedtrack.view.options import ViewMode


class BaseFedJob(FedJob):
    """A job with the usual components: TensorBoard, events that are sent to the server, the best model kept.

    Args:
        name: Letters, digits, ``_``, ``-`` and ``.``; also the exported folder's name.
        min_clients: The job fails with fewer living sites; None means that all sites are needed.
        mandatory_clients: Sites without which the job fails.
        key_metric: The metric that decides which global model is the best; "" selects none.
        key_metric_mode: Whether larger (``max``) or smaller (``min``) values are better.
        validation_json_generator: The component that writes the results of cross-site evaluation; None means the
            default one.
        intime_model_selector: The model selector; None means one for ``key_metric``.
        convert_to_fed_event: The component that sends events to the server, or whether to place one; None means True.
        analytics_receiver: The default receiver, or whether to place one; None and True mean TensorBoard's.
        idle_timeout: A site fails after this many seconds without an answer or a logged event.
        durability: What a returned log call survives; see FedJob.
        spool_limit: The most bytes of a process's records on its disk that are not in a journal yet; see FedJob.
        view: Whether the server's records show each metric over the sites; see FedJob.
        policy: What may leave the sites; see FedJob.
    """

    @checked_keywords
    def __init__(
        self,
        name: str = "fed_job",
        min_clients: int | None = None,
        mandatory_clients: list[str] | None = None,
        key_metric: str = "accuracy",
        key_metric_mode: Literal["max", "min"] = "max",
        validation_json_generator: ValidationJsonGenerator | None = None,
        intime_model_selector: IntimeModelSelector | None = None,
        convert_to_fed_event: ConvertToFedEvent | bool | None = None,
        analytics_receiver: Receiver | bool | None = None,
        *,
        idle_timeout: float = 3600.0,
        durability: Durability = "process",
        spool_limit: int = DEFAULT_LIMIT_BYTES,
        view: bool | ViewMode = True,
        policy: Mapping[str, Any] | str | Path | None = None,
    ) -> None:
        super().__init__(
            name,
            min_clients,
            mandatory_clients,
            idle_timeout=idle_timeout,
            durability=durability,
            spool_limit=spool_limit,
            view=view,
            policy=policy,
        )
        if key_metric_mode not in ("max", "min"):
            raise ConfigError(f"key_metric_mode is {key_metric_mode!r}; valid are 'max' and 'min'.")
        self.to_server(validation_json_generator or ValidationJsonGenerator(), id="json_generator")
        if intime_model_selector is not None or key_metric:
            self.to_server(
                intime_model_selector or IntimeModelSelector(key_metric, key_metric_mode), id="model_selector"
            )
        if convert_to_fed_event is None or convert_to_fed_event is True:
            convert_to_fed_event = ConvertToFedEvent()
        if isinstance(convert_to_fed_event, ConvertToFedEvent):
            self.to_clients(convert_to_fed_event, id="event_to_fed")
        if analytics_receiver is None or analytics_receiver is True:
            analytics_receiver = default_receiver()
        if isinstance(analytics_receiver, Receiver):
            self.to_server(analytics_receiver, id="receiver")
