"""Deals this machine's GPUs out to the processes of a run."""

from __future__ import annotations

import re

from fedtrack.errors import ConfigError

#: What ``CUDA_VISIBLE_DEVICES`` takes: an index, or a UUID as ``nvidia-smi -L`` shows it, of a GPU or a part of one.
_ID = r"(?:\d+|(?:GPU|MIG)-[0-9A-Za-z/-]+)"
_GROUP = re.compile(rf"\s*(?:({_ID})|\[\s*({_ID}(?:\s*,\s*{_ID})*)\s*\])\s*(?:,|$)")


def gpu_groups(gpus: str) -> list[str]:
    """Return which GPUs each process of a run gets, as ``CUDA_VISIBLE_DEVICES`` takes it.

    The first process gets the first group and so on; if there are more processes than groups, they share.

    Args:
        gpus: Ids, comma-separated; in brackets, several for one process: ``"0,1"`` or ``"[0,1],[2,3]"``, as in FLARE.

    Raises:
        ConfigError: It is nothing of this kind.
    """
    groups: list[str] = []
    position = 0
    while match := _GROUP.match(gpus, position):
        groups.append(re.sub(r"\s", "", match[1] or match[2]))
        position = match.end()
    if position != len(gpus) or not groups or gpus.rstrip().endswith(","):
        raise ConfigError(
            f"The GPUs {gpus!r} are not valid; give ids as nvidia-smi -L shows them, comma-separated and in brackets "
            "where one site gets several: 0,1 or [0,1],[2,3]."
        )
    return groups


def gpu_environment(gpus: str | None, index: int) -> dict[str, str]:
    """Return the variables that show process ``index`` (from 0) its GPUs; none if ``gpus`` is None."""
    if gpus is None:
        return {}
    groups = gpu_groups(gpus)
    return {"CUDA_VISIBLE_DEVICES": groups[index % len(groups)]}
