"""Processes of torch.distributed, each of which is a site: curves of every rank, and not only of the first one.

    torchrun --nproc-per-node 2 ranks.py

FEDTRACK_RUN must be the same on all nodes; under Slurm, ``FEDTRACK_RUN=$SLURM_JOB_ID`` is. The token is one for all
ranks: ``fedtrack collect tokens add 'rank-*'``.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import fedtrack


def main() -> None:
    """Train a small model on every rank."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    run = fedtrack.connect(site=f"rank-{rank}")  # FEDTRACK_URL, FEDTRACK_RUN and FEDTRACK_TOKEN are in the environment
    torch.manual_seed(rank)
    model = DistributedDataParallel(nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(50):
        features = torch.randn(32, 8)
        loss = (model(features) - features.sum(1, keepdim=True)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log({"loss": loss}, step=step)
    dist.destroy_process_group()
    run.finish()


if __name__ == "__main__":
    main()
