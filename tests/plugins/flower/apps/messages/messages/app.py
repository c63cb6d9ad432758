"""messages: client and server."""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedtrack import Writer
from fedtrack_flower import fedtrack_mod, track

client = ClientApp(mods=[fedtrack_mod])
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    writer = Writer()
    for step in range(20):
        writer.record_metric("loss", int(context.node_config["partition-id"]) + 1 / (step + 1), step)
    arrays = [array + 1 for array in message.content["arrays"].to_numpy_ndarrays()]
    metrics = MetricRecord({"num-examples": 10, "train_loss": float(context.node_config["partition-id"])})
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)


@client.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    return Message(RecordDict({"m": MetricRecord({"num-examples": 10, "accuracy": 0.5})}), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    strategy = track(FedAvg(min_available_nodes=2), context)
    rounds = int(context.run_config["num-server-rounds"])
    strategy.start(grid=grid, initial_arrays=ArrayRecord([np.zeros(3)]), num_rounds=rounds)
