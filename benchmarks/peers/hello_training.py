"""The training of every arm: the hello job's network and images, with the same steps as in hello-pt-mlflow.

Each peer's interpreter imports this file with the examples' package; it needs torch, scikit-learn's file of digits
and pluggy, and none of fedtrack's other dependencies.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from fedtrack_examples.data_choice import DataChoice
from fedtrack_examples.partition import partition
from fedtrack_examples.simple_network import SimpleNetwork
from fedtrack_examples.training import accuracy_of, make_repeatable

SITES, ROUNDS, EPOCHS, BATCH = ("site-1", "site-2"), 5, 4, 32
VIRTUAL_SITES, VIRTUAL_ROUNDS = 1000, 3

#: The file in which the arms note their steps and times; see ``hello.py``.
NOTES = "HELLO_NOTES"

Log = Callable[[str, float, int], object]
State = Mapping[str, Any]


def note(**what: float) -> None:
    """Write one line for the process that measures."""
    with Path(os.environ[NOTES]).open("a") as file:
        file.write(json.dumps(what) + "\n")


def network() -> SimpleNetwork:
    """Return the network with its parameters at the start of the job."""
    torch.manual_seed(0)
    return SimpleNetwork(*DataChoice(n_sites=2).shape())


class LocalSite:
    """One site's images and network."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.train_images, self.test_images = DataChoice(n_sites=len(SITES)).load(name)
        self.net: nn.Module = network()

    def play(self, current_round: int, log: Log | None = None) -> tuple[int, float]:
        """Train one round from the parameters of ``net``; return the number of steps, and the accuracy before them."""
        note(round_begins=time.time())
        batches = DataLoader(self.train_images, batch_size=BATCH, shuffle=True)
        accuracy = accuracy_of(self.net, self.test_images)
        make_repeatable(0, self.name, current_round)
        optimizer = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)
        calls = []
        step = current_round * EPOCHS * len(batches)
        for _ in range(EPOCHS):
            for images, targets in batches:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.net(images), targets)
                loss.backward()
                optimizer.step()
                value = loss.item()
                step += 1
                if log is not None:
                    began = time.perf_counter_ns()
                    log("train_loss", value, step)
                    calls.append(time.perf_counter_ns() - began)
        note(round_ends=time.time(), **({"log_call_ns": median(calls)} if calls else {}))
        return EPOCHS * len(batches), accuracy


class VirtualSites:
    """The images of a thousand sites in one process, of which each trains one step with one or two images."""

    def __init__(self) -> None:
        self.images, _ = DataChoice(n_sites=1).load("site-1")
        self.parts = partition([int(self.images[n][1]) for n in range(len(self.images))], VIRTUAL_SITES)
        self.net: nn.Module = network()

    def step(self, site: int) -> int:
        """Train one step from the parameters of ``net``, and return the number of its images."""
        (images, targets), *_ = DataLoader(Subset(self.images, self.parts[site].tolist()), batch_size=BATCH)
        optimizer = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)
        optimizer.zero_grad()
        nn.functional.cross_entropy(self.net(images), targets).backward()
        optimizer.step()
        note(step=site)
        return len(targets)


def average(states: list[State]) -> dict[str, Any]:
    """Return the mean of equally weighted states."""
    return {name: sum(state[name] for state in states) / len(states) for name in states[0]}
