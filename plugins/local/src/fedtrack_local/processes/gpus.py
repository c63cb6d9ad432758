"""GPUs: how the GPUs of this machine are assigned to the processes of a run."""

from __future__ import annotations

import re

from fedtrack.errors import ConfigError

#: A value for ``CUDA_VISIBLE_DEVICES``: the index of a GPU, or the UUID of a GPU or a part of one (``nvidia-smi -L``).
_ID = r"(?:\d+|(?:GPU|MIG)-[0-9A-Za-z/-]+)"
_GROUP = re.compile(rf"\s*(?:({_ID})|\[\s*({_ID}(?:\s*,\s*{_ID})*)\s*\])\s*(?:,|$)")


def gpu_groups(gpus: str) -> list[str]:
    """Return the GPUs of each process of a run, as values of ``CUDA_VISIBLE_DEVICES``.

    The first process gets the first group and so on; if there are more processes than groups, they share.

    Args:
        gpus: Ids separated by commas, in brackets if one process gets several: ``"0,1"`` or ``"[0,1],[2,3]"``, as in
            FLARE.

    Raises:
        ConfigError: ``gpus`` has another form.
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
    """Return the environment variables that give process ``index`` (from 0) its GPUs; none if ``gpus`` is None."""
    if gpus is None:
        return {}
    groups = gpu_groups(gpus)
    return {"CUDA_VISIBLE_DEVICES": groups[index % len(groups)]}
