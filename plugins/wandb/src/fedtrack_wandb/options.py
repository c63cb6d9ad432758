"""The arguments of ``WandBReceiver``, checked before a job starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from fedtrack import ReceiverOptions
from fedtrack.errors import ConfigError

#: W&B refuses longer names and tags, and these characters in a project's name.
MAX_PROJECT_CHARS = 128
_NOT_IN_PROJECT = re.compile(r"[/\\#?%:]")

Project = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PROJECT_CHARS, pattern=r"^[^/\\#?%:]*$")]
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class WandBArgs(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is passed on to ``wandb.init`` for every site.

    Attributes:
        project: The W&B project; the job's name, if None.
        name: Sites' runs are called ``<name>-<site>``; the job's name, if None.
        group: The group that holds the sites' runs; the job's name, if None.
        job_type: W&B's job type, such as ``"train-validate"``.
        notes: A description of the runs.
        tags: Labels of 1 to 64 characters.
        config: Hyperparameters of every site's run.
        entity: The user or team that owns the project; the API key's default, if None.
    """

    project: Project | None = None
    name: Name | None = None
    group: Name | None = None
    job_type: str | None = None
    notes: str | None = None
    tags: list[Tag] = []
    config: dict[str, Any] = {}
    entity: Name | None = None


class WandBOptions(ReceiverOptions):
    """The receiver's arguments, in FLARE's order.

    Attributes:
        wandb_args: What is passed on to ``wandb.init``.
        mode: ``"offline"`` writes files that ``wandb sync`` uploads later, ``"online"`` uploads at once,
            ``"disabled"`` does nothing.
        process_timeout: How long the end of a run may wait for uploads, seconds.
    """

    wandb_args: WandBArgs = msgspec.field(default_factory=WandBArgs)
    mode: Literal["offline", "online", "disabled"] = "offline"
    events: list[str] | None = None
    process_timeout: Annotated[float, msgspec.Meta(gt=0)] = 10.0


def project_from(job_name: str) -> str:
    """Return the project for a job that names none: the job's name, as far as W&B takes it."""
    return _NOT_IN_PROJECT.sub("-", job_name)[:MAX_PROJECT_CHARS] or "fedtrack"


def check_args(args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Check the keys of ``wandb_args``, whose names the receiver's own error message would not list.

    Raises:
        ConfigError: A key is unknown.
    """
    given = args[0] if args else kwargs.get("wandb_args")
    if not isinstance(given, Mapping):
        return
    valid = WandBArgs.__struct_fields__
    for key in given:
        if key not in valid:
            raise ConfigError(f"WandBReceiver: wandb_args has no key {key!r}; valid keys: {', '.join(valid)}.")
