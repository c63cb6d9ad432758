"""Training: seeding and scoring, which all training scripts of the examples use."""

from __future__ import annotations

import os
import zlib

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from fedtrack_examples.image_set import ImageSet


def make_repeatable(seed: int, site: str, current_round: int) -> None:
    """Seed all random numbers, so that they are the same whenever this site trains this round with this seed."""
    # cuBLAS reads this when it starts; without it, a deterministic matrix product on a GPU is an error.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # use_deterministic_algorithms(True) does the same, but first imports torch's compiler, which takes seconds.
    torch.set_deterministic_debug_mode("error")
    torch.manual_seed(zlib.crc32(f"{seed} {site} {current_round}".encode()))


def accuracy_of(net: nn.Module, images: ImageSet | Subset[tuple[Tensor, Tensor]]) -> float:
    """Return the share of ``images`` that the network classifies correctly, from 0 to 1."""
    device = next(net.parameters()).device
    net.eval()
    correct = 0
    with torch.inference_mode():
        for pixels, targets in DataLoader(images, batch_size=512):
            correct += int((net(pixels.to(device)).argmax(dim=1) == targets.to(device)).sum())
    net.train()
    return correct / len(images)
