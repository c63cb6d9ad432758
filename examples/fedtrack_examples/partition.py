"""Partitions: the samples are divided among the sites; each sample has one site, and each site at least one sample."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedtrack.errors import ConfigError

Indices = npt.NDArray[np.int64]
Method = Literal["iid", "dirichlet"]


def partition(
    targets: npt.ArrayLike, n_sites: int, method: Method = "iid", alpha: float = 0.5, seed: int = 0
) -> list[Indices]:
    """Return the indices of each site's samples, ascending; the same arguments give the same parts.

    Args:
        targets: The class of each sample, shape (n,).
        n_sites: The number of parts.
        method: ``"iid"`` makes random parts of equal size; ``"dirichlet"`` draws for each class the share of each
            site.
        alpha: For ``"dirichlet"``: the smaller it is, the more the sites differ. With 0.1 a site has few classes;
            100 is close to iid.
        seed: The seed of the random numbers, 0 or more.

    Raises:
        ConfigError: An argument is out of range, or there are fewer samples than sites.
    """
    classes = np.asarray(targets)
    if not 1 <= n_sites <= len(classes):
        raise ConfigError(
            f"Cannot deal {len(classes)} samples out to {n_sites} sites; every site needs at least one sample."
        )
    if seed < 0:
        raise ConfigError(f"The seed {seed} is negative; a seed is 0 or more.")
    rng = np.random.default_rng(seed)
    if method == "iid":
        parts = np.array_split(rng.permutation(len(classes)), n_sites)
    elif method == "dirichlet":
        parts = _dirichlet(classes, n_sites, alpha, rng)
    else:
        raise ConfigError(f"The partition {method!r} is unknown; valid are 'iid' and 'dirichlet'.")
    return [np.sort(part) for part in parts]


def _dirichlet(classes: npt.NDArray[np.int64], n_sites: int, alpha: float, rng: np.random.Generator) -> list[Indices]:
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ConfigError(f"alpha is {alpha}; a Dirichlet partition needs a finite number above 0.")
    owner = np.empty(len(classes), dtype=np.int64)
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        shares = rng.dirichlet([alpha] * n_sites)
        cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for site, part in enumerate(np.split(members, cuts)):
            owner[part] = site
    _fill_empty_sites(owner, n_sites, rng)
    return [np.flatnonzero(owner == site) for site in range(n_sites)]


def _fill_empty_sites(owner: Indices, n_sites: int, rng: np.random.Generator) -> None:
    """Give every site without a sample one sample of the largest site."""
    counts = np.bincount(owner, minlength=n_sites)
    for site in np.flatnonzero(counts == 0):
        richest = int(counts.argmax())
        owner[rng.choice(np.flatnonzero(owner == richest))] = site
        counts[richest] -= 1
        counts[site] += 1
