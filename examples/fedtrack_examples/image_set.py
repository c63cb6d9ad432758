"""ImageSet: small images of one size in memory, as a torch data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """Images and the class of each.

    An item is a pair: a float32 tensor of shape (channels, height, width) with values in [-1, 1], and the
    class as an int64 tensor of shape ().

    Attributes:
        pixels: uint8 of shape (n, channels, height, width), from 0 to ``peak``; a quarter of float32's memory.
        targets: The class of each image, counted from 0: int64 of shape (n,).
        peak: The value of a white pixel.
    """

    def __init__(self, pixels: Tensor, targets: Tensor, peak: int = 255) -> None:
        self.pixels = pixels
        self.targets = targets
        self.peak = peak

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Return a batch of items; DataLoader calls this because converting images one by one is slow."""
        chosen = torch.as_tensor(indices)
        images = self.read(chosen).float().mul_(2 / self.peak).sub_(1)
        return list(zip(images.unbind(), self.targets[chosen].unbind(), strict=True))

    def read(self, indices: Tensor) -> Tensor:
        """Return the pixels of the images at ``indices`` (int64, shape (k,))."""
        return self.pixels[indices]
