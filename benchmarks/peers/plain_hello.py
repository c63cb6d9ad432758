"""The hello job's training, or that of a thousand virtual sites, in one plain PyTorch process."""

from __future__ import annotations

import argparse
import copy

import torch
from hello_training import ROUNDS, SITES, VIRTUAL_ROUNDS, VIRTUAL_SITES, LocalSite, VirtualSites, average, network


def hello() -> None:
    sites = [LocalSite(name) for name in SITES]
    model = network().state_dict()
    for current_round in range(ROUNDS):
        results = []
        for site in sites:
            site.net.load_state_dict(copy.deepcopy(model))
            site.play(current_round)
            results.append(copy.deepcopy(site.net.state_dict()))
        model = average(results)


def virtual() -> None:
    sites = VirtualSites()
    model = network().state_dict()
    for _ in range(VIRTUAL_ROUNDS):
        total = {name: torch.zeros_like(value) for name, value in model.items()}
        for number in range(VIRTUAL_SITES):
            sites.net.load_state_dict(model)
            sites.step(number)
            for name, value in sites.net.state_dict().items():
                total[name] += value / VIRTUAL_SITES
        model = total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="where to work")
    parser.add_argument("--threads", type=int, help="torch's threads; its default, if not given")
    parser.add_argument("--virtual", action="store_true", help="the thousand virtual sites")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    virtual() if args.virtual else hello()
