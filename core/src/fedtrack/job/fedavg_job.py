"""FedAvgJob: federated averaging in one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
from fedtrack.job.values import MAX_COUNT
from fedtrack.spool.spool import DEFAULT_LIMIT_BYTES, Durability
from fedtrack.tracking.receiver import Receiver
from fedtrack.view.options import ViewMode

#: The number of sites of a job that names none.
DEFAULT_CLIENTS = 2


class FedAvgJob(BaseFedJob):
    """Federated averaging over ``site-1`` to ``site-n``, or over the sites at which something is placed.

    Args:
        initial_model: A ``torch.nn.Module``, a dict of tensors, or ``"model.py:Net"``: a callable in a file, called
            without arguments by a process that may import torch. None lets every site begin with its own.
        n_clients: The number of sites; None means the sites at which something is placed, and two without any.
        num_rounds: The number of rounds.
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
        evaluate_final_model: Whether the sites also score the last round's model.
        task_timeout: Seconds within which a site must answer; 0 means that only ``idle_timeout`` limits the time.
        fraction: The share of the sites that take part in each round, 0 < fraction <= 1; None means all.
        aggregator: Name of the aggregator, which makes the new model from the sites' results; see FedAvg.
        params: The tensors that a site must send: ``all``, ``partial``, or a list of names and patterns; see FedAvg.
        max_weight: The most steps of a site that count in a round; 0 means no cap; see FedAvg.
        max_norm: The largest L2 norm of a site's update; 0 means no cap; see FedAvg.
        idle_timeout: A site fails after this many seconds without an answer or a logged event.
        durability: What a returned log call survives; see FedJob.
        spool_limit: The most bytes of a process's records on its disk that are not in a journal yet; see FedJob.
        view: Whether the server's records show each metric over the sites; see FedJob.
        policy: What may leave the sites; see FedJob.

    Raises:
        ConfigError: A value is not valid.
        TypeError: There is no such argument.
    """

    @checked_keywords
    def __init__(
        self,
        initial_model: Any = None,
        n_clients: int | None = None,
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
        params: Literal["all", "partial"] | list[str] = "all",
        max_weight: float = 0.0,
        max_norm: float = 0.0,
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
            key_metric,
            key_metric_mode,
            validation_json_generator,
            intime_model_selector,
            convert_to_fed_event,
            analytics_receiver,
            idle_timeout=idle_timeout,
            durability=durability,
            spool_limit=spool_limit,
            view=view,
            policy=policy,
        )
        if n_clients is not None and (
            isinstance(n_clients, bool) or not isinstance(n_clients, int) or not 1 <= n_clients <= MAX_COUNT
        ):
            raise ConfigError(f"n_clients is {n_clients!r}; a job needs 1 site or more.")
        self.initial_model = dict(initial_model) if isinstance(initial_model, Mapping) else initial_model
        self.n_clients = n_clients
        self.to_server(ModelPersistor(), id="persistor")
        self.to_server(
            FedAvg(
                num_clients=n_clients if fraction is None else None,
                fraction=fraction,
                num_rounds=num_rounds,
                evaluate_final_model=evaluate_final_model,
                task_timeout=task_timeout,
                aggregator=aggregator,
                params=params,
                max_weight=max_weight,
                max_norm=max_norm,
            )
        )

    def sites(self) -> list[str]:
        """Return the names of the job's sites; see ``FedJob.sites``."""
        return super().sites() or [f"site-{number}" for number in range(1, DEFAULT_CLIENTS + 1)]
