"""The digits: 1,797 handwritten digits of 8x8 pixels (Alpaydin and Kaynak, 1998) that come with scikit-learn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fedtrack_examples.image_set import ImageSet
from fedtrack_examples.split import stratified_split

#: The largest value of a pixel, which is the number of black dots in a square of 4x4.
_PEAK = 16


def load(train: bool = True) -> ImageSet:
    """Return the 1,438 training images, or the 359 test images, of shape (1, 8, 8)."""
    rows = _rows()
    targets = rows[:, -1].astype(np.int64)
    chosen = stratified_split(targets)[0 if train else 1]
    pixels = rows[chosen, :-1].reshape(-1, 1, 8, 8)
    return ImageSet(torch.from_numpy(pixels), torch.from_numpy(targets[chosen]), _PEAK)


def _rows() -> npt.NDArray[np.uint8]:
    """Return one row per image: 64 pixels and the digit."""
    # Read from scikit-learn's file in milliseconds; importing sklearn would take seconds at each site.
    for folder in _package_folders():
        file = folder / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return _rows_from_sklearn()


def _package_folders() -> list[Path]:
    spec = find_spec("sklearn")
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _rows_from_sklearn() -> npt.NDArray[np.uint8]:
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    return np.column_stack([pixels, targets]).astype(np.uint8)
