"""Image folders: pictures in the layout of torchvision's ImageFolder, as 32x32 RGB images.

There are two layouts: ``{train,test}/<class>/...``, and ``<class>/...``, from which a fixed fifth of every class
becomes the test set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fedtrack.errors import ConfigError
from fedtrack_examples.image_layout import class_names, is_split
from fedtrack_examples.image_set import ImageSet
from fedtrack_examples.split import stratified_split

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE = 32


class FolderImages(ImageSet):
    """Images in files. Each is decoded when it is first used, and then kept as 3 kB of pixels."""

    def __init__(self, files: Sequence[Path], targets: Sequence[int]) -> None:
        # The system allocates memory for these pixels only when they are written.
        super().__init__(torch.empty((len(files), 3, SIZE, SIZE), dtype=torch.uint8), torch.tensor(targets))
        self._files = files
        self._decoded = np.zeros(len(files), dtype=bool)

    def read(self, indices: Tensor) -> Tensor:
        """Return the pixels of the images at ``indices``, decoding those that were not used before."""
        for index in indices.tolist():
            if not self._decoded[index]:
                self.pixels[index] = _decode(self._files[index])
                self._decoded[index] = True
        return super().read(indices)


def load(data_dir: Path, train: bool = True) -> FolderImages:
    """Return the training or the test images, of shape (3, 32, 32).

    Raises:
        ConfigError: The folder has neither layout, or a class has no image.
    """
    class_names(data_dir)  # raises an error if the folder has neither layout
    if is_split(data_dir):
        samples = _samples(data_dir / ("train" if train else "test"))
    else:
        every = _samples(data_dir)
        chosen = stratified_split([target for _, target in every])[0 if train else 1]
        samples = [every[index] for index in chosen]
    return FolderImages([Path(file) for file, _ in samples], [target for _, target in samples])


def _samples(folder: Path) -> list[tuple[str, int]]:
    from torchvision.datasets import ImageFolder

    try:
        samples: list[tuple[str, int]] = ImageFolder(folder).samples
    except FileNotFoundError as error:  # torchvision's message names the classes without an image
        raise ConfigError(f"{folder}: {error}") from None
    return samples


def _decode(file: Path) -> Tensor:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    except (UnidentifiedImageError, OSError) as error:
        raise ConfigError(f"{file} cannot be read as an image ({error}); repair or remove it.") from None
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)
