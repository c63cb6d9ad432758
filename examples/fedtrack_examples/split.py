"""Splits: samples are divided into a training and a test part, which are the same on every site."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedtrack.errors import ConfigError

Indices = npt.NDArray[np.int64]

#: The share of a data set that becomes the test set, if the data set has no test set of its own.
TEST_SHARE = 0.2

#: A constant, because the test set must not depend on the seed of a training.
_SEED = 1797


def stratified_split(targets: npt.ArrayLike) -> tuple[Indices, Indices]:
    """Return the indices of the training and of the test samples, both ascending.

    Every class gives ``TEST_SHARE`` of its samples to the test set, at least one if it has two or more.

    Args:
        targets: The class of each sample, shape (n,).

    Raises:
        ConfigError: No class has two samples.
    """
    classes = np.asarray(targets)
    order = np.random.default_rng(_SEED).permutation(len(classes))
    is_test = np.zeros(len(classes), dtype=bool)
    for label in np.unique(classes):
        members = order[classes[order] == label]
        count = round(len(members) * TEST_SHARE)
        is_test[members[: max(count, 1) if len(members) > 1 else 0]] = True
    if not is_test.any():
        raise ConfigError(f"{len(classes)} samples leave no test set; at least one class needs two samples.")
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
