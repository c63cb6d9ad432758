"""The hello job, or a thousand virtual sites, in Flower's simulation on Ray; run by Flower's own interpreter."""

from __future__ import annotations

import argparse
import os
from functools import cache

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from hello_training import ROUNDS, SITES, VIRTUAL_ROUNDS, VIRTUAL_SITES, LocalSite, VirtualSites, network

hello_client, virtual_client = ClientApp(), ClientApp()


@cache
def local_site(name: str) -> LocalSite:
    """Return a site's images, which stay in a process after it has trained the site once."""
    return LocalSite(name)


@cache
def virtual_sites() -> VirtualSites:
    return VirtualSites()


@hello_client.train()  # type: ignore[untyped-decorator]
def train(message: Message, context: Context) -> Message:
    site = local_site(SITES[context.node_config["partition-id"]])
    site.net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    steps, accuracy = site.play(message.content["config"]["server-round"] - 1)
    metrics = MetricRecord({"num-examples": steps, "accuracy": accuracy})
    return Message(RecordDict({"arrays": ArrayRecord(site.net.state_dict()), "metrics": metrics}), reply_to=message)


@virtual_client.train()  # type: ignore[untyped-decorator]
def step(message: Message, context: Context) -> Message:
    sites = virtual_sites()
    sites.net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    sites.step(context.node_config["partition-id"])
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": ArrayRecord(sites.net.state_dict()), "metrics": metrics}), reply_to=message)


def run(client: ClientApp, sites: int, rounds: int) -> None:
    server = ServerApp()

    @server.main()  # type: ignore[untyped-decorator]
    def main(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
        strategy.start(grid, ArrayRecord(network().state_dict()), num_rounds=rounds)

    run_simulation(server, client, sites, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="where to work")
    parser.add_argument("--virtual", action="store_true", help="the thousand virtual sites")
    args = parser.parse_args()
    if args.virtual:
        run(virtual_client, VIRTUAL_SITES, VIRTUAL_ROUNDS)
    else:
        run(hello_client, len(SITES), ROUNDS)


if __name__ == "__main__":
    import flower_hello  # Ray's workers must be able to import the apps, which are in __main__ here

    flower_hello.main()
