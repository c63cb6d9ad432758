"""BaseFedJob: a job with what most jobs want."""

from __future__ import annotations

from typing import Literal

from fedtrack.errors import ConfigError
from fedtrack.job.components import ConvertToFedEvent, IntimeModelSelector, ValidationJsonGenerator
from fedtrack.job.default_receiver import default_receiver
from fedtrack.job.fed_job import FedJob
from fedtrack.job.keywords import checked_keywords
from fedtrack.spool.spool import DEFAULT_LIMIT_BYTES, Durability
from fedtrack.tracking.receiver import Receiver


class BaseFedJob(FedJob):
    """A job with what most jobs want: TensorBoard, events that cross to the server, the best model kept.

    Args:
        name: Letters, digits, ``_``, ``-`` and ``.``; also the exported folder's name.
        min_clients: With fewer living sites the job fails; all sites are needed, if None.
        mandatory_clients: Sites without which the job fails.
        key_metric: The metric that decides which global model is the best; "" keeps none.
        key_metric_mode: Whether more (``max``) or less (``min``) of it is better.
        validation_json_generator: Where cross-site evaluation writes its results; a default one, if None.
        intime_model_selector: The model selector; one for ``key_metric``, if None.
        convert_to_fed_event: The component that lets events cross, or whether to place one; True, if None.
        analytics_receiver: The default receiver, or whether to place one; TensorBoard's, if None or True.
        idle_timeout: A site that has neither answered nor logged anything for this many seconds has failed.
        durability: What a log call survives once it has returned; see FedJob.
        spool_limit: The most that what a process has logged and no journal has yet may take on its disk, bytes.
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
    ) -> None:
        super().__init__(
            name,
            min_clients,
            mandatory_clients,
            idle_timeout=idle_timeout,
            durability=durability,
            spool_limit=spool_limit,
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
