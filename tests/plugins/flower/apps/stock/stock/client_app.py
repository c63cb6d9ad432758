"""stock: the client; the lines of fedtrack are marked."""

import numpy as np
from flwr.client import ClientApp, NumPyClient
from flwr.common import Context

from fedtrack import Writer
from fedtrack_flower import fedtrack_mod


class FlowerClient(NumPyClient):
    def __init__(self, partition):
        self.partition = partition

    def fit(self, parameters, config):
        writer = Writer()
        for step in range(20):
            writer.record_metric("loss", self.partition + 1 / (step + 1), step)
        return [parameters[0] + 1], 10 * (self.partition + 1), {"train_loss": float(self.partition), "note": "text"}

    def evaluate(self, parameters, config):
        return float(np.mean(parameters[0])), 10, {"accuracy": 0.5}


def client_fn(context: Context):
    return FlowerClient(int(context.node_config["partition-id"])).to_client()


app = ClientApp(client_fn, mods=[fedtrack_mod])
