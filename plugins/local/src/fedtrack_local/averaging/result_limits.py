"""ResultLimits: how much a single site's result may count for, and how far it may move the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

import msgspec
import numpy as np

from fedtrack.client import ParamsType
from fedtrack.errors import ModelError
from fedtrack_local.models.arrays import Array

#: Up to this weight no site's claim is compared with those of the others.
PLAUSIBLE = 100_000.0
#: A larger weight is not believed if it is so many times the median of the other sites' weights.
MOST_TIMES = 1_000.0


class ResultLimits(msgspec.Struct, frozen=True):
    """The caps of a job on each result; 0 stands for none.

    Attributes:
        max_weight: A site that claims more steps counts as if it had claimed these.
        max_norm: The largest L2 norm of an update, which is the difference to the global model. A longer one is
            shortened to it (Sun et al. 2019, "Can You Really Backdoor Federated Learning?", section 3.2).
    """

    max_weight: float = 0.0
    max_norm: float = 0.0

    def weight(self, claimed: float) -> float:
        """Return the weight that counts."""
        return min(claimed, self.max_weight) if self.max_weight else claimed

    def apply(
        self, site: str, params: Mapping[str, Array], params_type: ParamsType, reference: Mapping[str, Array]
    ) -> tuple[Mapping[str, Array], ParamsType]:
        """Return a result whose update is not longer than ``max_norm``.

        Integers and bools are left as they are: they count, and are no directions.

        Raises:
            ModelError: A tensor holds a value that is not finite.
        """
        if not self.max_norm:
            return params, params_type
        difference = ParamsType(params_type) is ParamsType.DIFF
        norm = math.sqrt(sum(_square(site, name, params, reference, difference) for name in _floats(params, reference)))
        if norm <= self.max_norm:
            return params, params_type
        scale = self.max_norm / norm
        found = dict(params)
        for name in _floats(params, reference):
            update = params[name] if difference else params[name].astype(np.float64) - reference[name]
            shortened = update.astype(np.float64) * scale
            found[name] = (shortened if difference else reference[name] + shortened).astype(params[name].dtype)
        return found, params_type


def check_claim(site: str, weight: float, others: Iterable[float]) -> None:
    """Check that a site does not claim so many steps that the other sites would not count at all.

    Args:
        site: The site.
        weight: The weight that it claims.
        others: The weights of the other sites in the round.

    Raises:
        ModelError: The claim is not believed.
    """
    known = list(others)
    if weight <= PLAUSIBLE or not known or weight <= MOST_TIMES * median(known):
        return
    raise ModelError(
        f"{site} claims {weight:,.0f} steps in this round, more than {MOST_TIMES:,.0f} times the median of the other "
        f"sites ({median(known):,.0f}); the result is not averaged. If the claim is true, let the job cap it: "
        "FedAvg(max_weight=...)."
    )


def _floats(params: Mapping[str, Array], reference: Mapping[str, Array]) -> list[str]:
    return [
        name
        for name, array in params.items()
        if name in reference and array.shape == reference[name].shape and array.dtype.kind not in "biu"
    ]


def _square(
    site: str, name: str, params: Mapping[str, Array], reference: Mapping[str, Array], difference: bool
) -> float:
    update = params[name].astype(np.float64)
    if not difference:
        update = update - reference[name].astype(np.float64)
    found = float(np.dot(update.reshape(-1), update.reshape(-1)))
    if not math.isfinite(found):
        raise ModelError(f"{site}: tensor {name!r} holds a value that is not finite; the result is not averaged.")
    return found
