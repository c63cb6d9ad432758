"""Policy: the content of a policy file, as its owner writes it in JSON or TOML."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from fedtrack.errors import ConfigError

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
#: A policy is read by people; more than this is another file.
MAX_BYTES = 1024 * 1024

#: What is said of a kind of record: all of it, none of it, or the keys that match one of these patterns.
Allowed: TypeAlias = Literal["allow", "deny"] | list[Annotated[str, msgspec.Meta(min_length=1)]]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may be released of the metrics whose key matches a pattern.

    Attributes:
        key: A pattern as of a shell: ``*``, ``?`` and ``[...]``.
        every: ``"round"`` releases the first value of a key in each round; a number n releases the first of every n
            values. The others are withheld and counted.
        clip: The smallest and the largest value that is released; what is beyond is moved to the nearer one.
        sig: How many significant decimal digits are kept.
        min_n: A value is released only if its log call says that it stands for at least this many samples.
    """

    key: Annotated[str, msgspec.Meta(min_length=1)]
    every: Literal["round"] | Annotated[int, msgspec.Meta(ge=1)] = 1
    clip: tuple[float, float] | None = None
    sig: Annotated[int, msgspec.Meta(ge=1, le=17)] | None = None
    min_n: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        """Refuse a range that is none.

        Raises:
            ValueError: The bounds of ``clip`` are not finite, or do not ascend.
        """
        if self.clip is not None and not (-math.inf < self.clip[0] < self.clip[1] < math.inf):
            raise ValueError(f"clip is {list(self.clip)}; it needs two finite numbers, the smaller one first")


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A policy. Without any field it releases nothing.

    Attributes:
        version: The version of this format.
        default: What is said of everything that no other field speaks of.
        allow: The rules for metrics; the first one whose pattern matches counts.
        params: Hyperparameters.
        tags: Tags.
        text: Texts.
        images: Images and figures.
        histograms: Histograms.
        artifacts: Files and tables, by their path.
        system: Metrics of the machine, whose keys begin with ``system/``.
        meta: ``FLModel.meta``, except for the weight of the model.
    """

    version: Literal[1] = 1
    default: Literal["allow", "deny"] = "deny"
    allow: list[Rule] = []
    params: Allowed | None = None
    tags: Allowed | None = None
    text: Allowed | None = None
    images: Allowed | None = None
    histograms: Allowed | None = None
    artifacts: Allowed | None = None
    system: Allowed | None = None
    meta: Allowed | None = None

    def allows(self, kind: str, key: str) -> bool:
        """Return whether a record may be released.

        Args:
            kind: One of the fields of kinds, such as ``"params"``.
            key: Its key or path.
        """
        said: Allowed = getattr(self, kind) or self.default
        return said == "allow" if isinstance(said, str) else any(fnmatchcase(key, pattern) for pattern in said)

    def rule(self, key: str) -> Rule | None:
        """Return the rule of a metric; None if it may not be released."""
        if key.startswith(SYSTEM) and (self.system is not None or self.default == "deny"):
            return Rule(key) if self.allows("system", key) else None
        for rule in self.allow:
            if fnmatchcase(key, rule.key):
                return rule
        return Rule(key) if self.default == "allow" else None


#: The beginning of the keys of the machine's metrics.
SYSTEM = "system/"
#: The fields of a policy that speak of a kind.
KINDS = ("params", "tags", "text", "images", "histograms", "artifacts", "system", "meta")

#: Releases nothing: in the place of a policy that cannot be read.
CLOSED = Policy()


def digest(data: bytes) -> str:
    """Return the hash by which a run names a policy: the SHA-256 of the file, as ``sha256sum`` prints it."""
    return hashlib.sha256(data).hexdigest()


def read(path: Path) -> tuple[Policy, str]:
    """Return the policy in a file, and the SHA-256 of the file.

    Raises:
        ConfigError: The file cannot be read, or is no valid policy.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"The policy {str(path)!r} cannot be read: {error.strerror}; name a file that this user can read."
        ) from None
    return decode(data, str(path)), digest(data)


def decode(data: bytes, name: str) -> Policy:
    """Return the policy in ``data``: TOML if the name ends in ``.toml``, else JSON.

    Raises:
        ConfigError: It is no valid policy.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(f"The policy {name!r} has more than {MAX_BYTES:,} bytes; a policy has a few lines.")
    try:
        if name.endswith(".toml"):
            return msgspec.convert(tomllib.loads(data.decode()), Policy)
        return msgspec.json.decode(data, type=Policy)
    except (msgspec.MsgspecError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"The policy {name!r} is not valid: {error}; the fields are those of `fedtrack policy schema`."
        ) from None


def of_job(given: Policy | Mapping[str, Any] | str | Path | None) -> Policy | None:
    """Return the policy that a job gives, as a dict or as the path of a file.

    Raises:
        ConfigError: It is no valid policy.
    """
    if given is None or isinstance(given, Policy):
        return given
    if isinstance(given, str | Path):
        return read(Path(given))[0]
    try:
        return msgspec.convert(dict(given), Policy)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise ConfigError(f"The job's policy is not valid: {error}; see `fedtrack policy schema`.") from None


def schema() -> dict[str, Any]:
    """Return the JSON schema of a policy."""
    return {"$schema": _DRAFT, "title": "fedtrack policy", **msgspec.json.schema(Policy)}
