"""The hello job, or a thousand virtual sites, in pfl-research's simulation; run by pfl's own interpreter."""

from __future__ import annotations

import argparse
import itertools
from functools import cache
from typing import Any

import torch
from hello_training import ROUNDS, SITES, VIRTUAL_ROUNDS, VIRTUAL_SITES, LocalSite, VirtualSites, network
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from pfl.stats import WeightedStatistics


class Network(torch.nn.Module):
    """The network with the two methods that pfl requires; it trains with the arms' common code."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def loss(self, *_: Any, **__: Any) -> torch.Tensor:
        return torch.zeros(())

    def metrics(self, *_: Any, **__: Any) -> dict[str, Weighted]:
        return {"loss": Weighted(0.0, 1)}


@cache
def local_site(name: str) -> LocalSite:
    return LocalSite(name)


@cache
def virtual_sites() -> VirtualSites:
    return VirtualSites()


class Hello(FederatedAveraging):  # type: ignore[misc]
    """pfl's federated averaging around the arms' common training."""

    def train_one_user(self, initial_model_state: Any, model: Any, user_dataset: Any, central_context: Any) -> Any:
        current_round = central_context.current_central_iteration
        site = local_site(user_dataset.user_id)
        site.net = model.pytorch_model.net
        site.play(current_round)
        return self._difference(initial_model_state, model)

    def _difference(self, initial_model_state: Any, model: Any) -> tuple[WeightedStatistics, Metrics]:
        statistics = model.get_model_difference(initial_model_state)
        statistics.weight = 1
        return statistics, Metrics()


class Virtual(Hello):
    """The same, with one step per virtual site."""

    def train_one_user(self, initial_model_state: Any, model: Any, user_dataset: Any, central_context: Any) -> Any:
        sites = virtual_sites()
        sites.net = model.pytorch_model.net
        sites.step(int(user_dataset.user_id))
        return self._difference(initial_model_state, model)


def run(algorithm: FederatedAveraging, names: list[str], rounds: int) -> None:
    users = itertools.cycle(names)
    data = FederatedDataset(lambda name: Dataset((torch.zeros(1),), user_id=name), lambda: next(users))
    backend = SimulatedBackend(training_data=data, val_data=None)
    net = Network()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)  # the central one: the mean of the differences is added
    model = PyTorchModel(net, torch.optim.SGD, optimizer)
    # pfl computes metrics in the first round only; the arms' code computes the accuracy itself.
    parameters = NNAlgorithmParams(rounds, 10**6, len(names), None)
    algorithm.run(
        parameters,
        backend,
        model,
        NNTrainHyperParams(local_batch_size=32, local_num_epochs=1, local_learning_rate=0.05),
        NNEvalHyperParams(local_batch_size=None),
        callbacks=[],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="where to work")
    parser.add_argument("--virtual", action="store_true", help="the thousand virtual sites")
    args = parser.parse_args()
    if args.virtual:
        run(Virtual(), [str(number) for number in range(VIRTUAL_SITES)], VIRTUAL_ROUNDS)
    else:
        run(Hello(), list(SITES), ROUNDS)
