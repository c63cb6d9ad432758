"""The arguments of ``WandBReceiver``, checked before a job starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from fedtrack import ReceiverOptions
from fedtrack.errors import ConfigError

#: Limits of W&B: the longest name and tag, and the characters that a project's name must not have.
MAX_PROJECT_CHARS = 128
_NOT_IN_PROJECT = re.compile(r"[/\\#?%:]")

Project = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PROJECT_CHARS, pattern=r"^[^/\\#?%:]*$")]
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class WandBArgs(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Arguments that are passed on to ``wandb.init`` for every site.

    Attributes:
        project: The W&B project; None means the job's name.
        name: The run of a site is called ``<name>-<site>``; None means the job's name.
        group: The group of the sites' runs; None means the job's name and the run's id.
        job_type: W&B's job type, such as ``"train-validate"``.
        notes: A description of the runs.
        tags: Labels of 1 to 64 characters.
        config: Hyperparameters of every site's run.
        entity: The user or team that owns the project; None means the API key's default.
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
        wandb_args: Arguments that are passed on to ``wandb.init``.
        mode: ``"offline"`` writes files that ``wandb sync`` uploads later, ``"online"`` uploads at once,
            ``"disabled"`` does nothing.
        process_timeout: Seconds that the end of a run may wait for uploads.
    """

    wandb_args: WandBArgs = msgspec.field(default_factory=WandBArgs)
    mode: Literal["offline", "online", "disabled"] = "offline"
    events: list[str] | None = None
    process_timeout: Annotated[float, msgspec.Meta(gt=0)] = 10.0


def project_from(job_name: str) -> str:
    """Return the default project: the job's name, cut to W&B's limit, with ``-`` for characters that W&B refuses."""
    return _NOT_IN_PROJECT.sub("-", job_name)[:MAX_PROJECT_CHARS] or "fedtrack"


def check_args(args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Check the keys of ``wandb_args``, because the general error message for options would not list the valid ones.

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
