"""FedAvgJob: federated averaging in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fedtrack.errors import ConfigError
from fedtrack.job.base_fed_job import BaseFedJob
from fedtrack.job.components import (
    ConvertToFedEvent,
    IntimeModelSelector,
    ModelPersistor,
    ValidationJsonGenerator,
)
from fedtrack.job.fedavg import WEIGHTED, FedAvg
from fedtrack.job.keywords import checked_keywords
from fedtrack.spool.spool import DEFAULT_LIMIT_BYTES, Durability
from fedtrack.tracking.receiver import Receiver


class FedAvgJob(BaseFedJob):
    """Federated averaging over ``site-1`` to ``site-n``.

    Args:
        initial_model: A ``torch.nn.Module``, a dict of tensors, or ``"model.py:Net"``: a callable in a file, called
            without arguments by a process that may import torch. None lets every site begin with its own.
        n_clients: How many sites.
        num_rounds: How many rounds.
        name: Letters, digits, ``_``, ``-`` and ``.``; also the exported folder's name.
        min_clients: With fewer living sites the job fails; all sites are needed, if None.
        mandatory_clients: Sites without which the job fails.
        key_metric: The metric that decides which global model is the best; "" keeps none.
        key_metric_mode: Whether more (``max``) or less (``min``) of it is better.
        validation_json_generator: Where cross-site evaluation writes its results; a default one, if None.
        intime_model_selector: The model selector; one for ``key_metric``, if None.
        convert_to_fed_event: The component that lets events cross, or whether to place one; True, if None.
        analytics_receiver: The default receiver, or whether to place one; TensorBoard's, if None or True.
        evaluate_final_model: Whether the sites also score the model that the last round made.
        task_timeout: Seconds within which a site must answer; 0 for no limit but ``idle_timeout``.
        fraction: The share of the sites that takes part in each round, 0 < fraction <= 1; all, if None.
        aggregator: Name of what makes the new model of the sites' results; see FedAvg.
        idle_timeout: A site that has neither answered nor logged anything for this many seconds has failed.
        durability: What a log call survives once it has returned; see FedJob.
        spool_limit: The most that what a process has logged and no journal has yet may take on its disk, bytes.

    Raises:
        ConfigError: A value is not valid.
        TypeError: There is no such argument.
    """

    @checked_keywords
    def __init__(
        self,
        initial_model: Any = None,
        n_clients: int = 2,
        num_rounds: int = 5,
        name: str = "fedavg",
        *,
        min_clients: int | None = None,
        mandatory_clients: list[str] | None = None,
        key_metric: str = "accuracy",
        key_metric_mode: Literal["max", "min"] = "max",
        validation_json_generator: ValidationJsonGenerator | None = None,
        intime_model_selector: IntimeModelSelector | None = None,
        convert_to_fed_event: ConvertToFedEvent | bool | None = None,
        analytics_receiver: Receiver | bool | None = None,
        evaluate_final_model: bool = False,
        task_timeout: float = 0.0,
        fraction: float | None = None,
        aggregator: str = WEIGHTED,
        idle_timeout: float = 3600.0,
        durability: Durability = "process",
        spool_limit: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        super().__init__(
            name,
            min_clients,
            mandatory_clients,
            key_metric,
            key_metric_mode,
            validation_json_generator,
            intime_model_selector,
            convert_to_fed_event,
            analytics_receiver,
            idle_timeout=idle_timeout,
            durability=durability,
            spool_limit=spool_limit,
        )
        if isinstance(n_clients, bool) or not isinstance(n_clients, int) or n_clients < 1:
            raise ConfigError(f"n_clients is {n_clients!r}; a job needs 1 site or more.")
        self.initial_model = dict(initial_model) if isinstance(initial_model, Mapping) else initial_model
        self.site_names += [f"site-{number}" for number in range(1, n_clients + 1)]
        self.to_server(ModelPersistor(), id="persistor")
        self.to_server(
            FedAvg(
                num_clients=None if fraction is not None else n_clients,
                fraction=fraction,
                num_rounds=num_rounds,
                evaluate_final_model=evaluate_final_model,
                task_timeout=task_timeout,
                aggregator=aggregator,
            )
        )
