"""GPUs: how the GPUs of this machine are assigned to the processes of a run."""

from __future__ import annotations

import logging
import os
import re
import subprocess

from fedtrack.errors import ConfigError

log = logging.getLogger(__name__)

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


def check_gpus(gpus: str) -> None:
    """Check that this machine has the GPUs, as far as that can be known, before anything is started.

    Raises:
        ConfigError: ``gpus`` has another form, or names a GPU that is not there.
    """
    wanted = [id_ for group in gpu_groups(gpus) for id_ in group.split(",")]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip():
        known, source = [id_.strip() for id_ in visible.split(",")], "CUDA_VISIBLE_DEVICES"
    else:
        listed = _listed_gpus()
        if listed is None:
            log.warning("The GPUs %s cannot be checked, because nvidia-smi does not list any here.", gpus)
            return
        known, source = listed, "nvidia-smi -L"
    for id_ in wanted:
        # A UUID may be given in part, and MIG instances have ids of several forms.
        if not any(name == id_ or (not id_.isdigit() and name.startswith(id_)) for name in known):
            raise ConfigError(
                f"The GPU {id_!r} of {gpus!r} is none of this machine ({source}: {', '.join(known)}); give those."
            )


def _listed_gpus() -> list[str] | None:
    """Return the indices and UUIDs of this machine's GPUs; None if nvidia-smi does not list any."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    indices = re.findall(r"^GPU (\d+):", done.stdout, re.MULTILINE)
    return [*indices, *re.findall(r"UUID: ([^)\s]+)", done.stdout)] if indices else None


def gpu_environment(gpus: str | None, index: int) -> dict[str, str]:
    """Return the environment variables that give process ``index`` (from 0) its GPUs; none if ``gpus`` is None."""
    if gpus is None:
        return {}
    groups = gpu_groups(gpus)
    return {"CUDA_VISIBLE_DEVICES": groups[index % len(groups)]}
