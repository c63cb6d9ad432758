"""stock: the server."""

import numpy as np
from flwr.common import Context, ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg

from fedtrack_flower import track


def weighted(metrics):
    total = sum(examples for examples, _ in metrics)
    return {"accuracy": sum(examples * found["accuracy"] for examples, found in metrics) / total}


def server_fn(context: Context):
    strategy = track(
        FedAvg(
            min_available_clients=2,
            initial_parameters=ndarrays_to_parameters([np.zeros(3)]),
            evaluate_metrics_aggregation_fn=weighted,
        ),
        context,
    )
    config = ServerConfig(num_rounds=int(context.run_config["num-server-rounds"]))
    return ServerAppComponents(strategy=strategy, config=config)


app = ServerApp(server_fn=server_fn)
