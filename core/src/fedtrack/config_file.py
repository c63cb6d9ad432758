"""ConfigFile: ``fedtrack.toml``. An option on the command line wins over the environment, and that over the file."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import ConfigError

CONFIG_VARIABLE = "FEDTRACK_CONFIG"
_NAME = "fedtrack.toml"


class ReceiverTable(msgspec.Struct, forbid_unknown_fields=True):
    """A table ``[[collect.receivers]]``.

    Attributes:
        name: The receiver's registered name.
        args: Its arguments; ``${ENV:NAME}`` stands for an environment variable.
    """

    name: str
    args: dict[str, Any] = {}


class CollectTable(msgspec.Struct, forbid_unknown_fields=True):
    """The table ``[collect]``; the keys are those of ``fedtrack collect --help``, with ``_`` for ``-``."""

    folder: str | None = None
    host: str | None = None
    port: int | None = None
    socket: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    trusted_proxy: str | None = None
    server_name: str | None = None
    idle_minutes: float | None = None
    keep_days: float | None = None
    max_bytes: int | None = None
    events_per_second: float | None = None
    bytes_per_second: float | None = None
    receivers: list[ReceiverTable] | None = None


class JobsTable(msgspec.Struct, forbid_unknown_fields=True):
    """The table ``[jobs]``: what the operator of a node allows to jobs. Names are patterns, such as ``MLFLOW_*``.

    Attributes:
        variables: The environment variables that ``${ENV:NAME}`` in a job may read, beside those that a receiver
            declares.
        hosts: The only hosts that the addresses in a job may have; None allows every host, but only this machine where
            the value of a variable goes.
        site_variables: The variables of the server that scripts of sites get, beside the usual ones.
    """

    variables: list[str] = []
    hosts: list[str] | None = None
    site_variables: list[str] = []


class PolicyTable(msgspec.Struct, forbid_unknown_fields=True):
    """The table ``[policy]``: what may leave the sites of this node.

    Attributes:
        file: The policy; ``{site}`` in it stands for the site's name.
    """

    file: str | None = None


class ConfigFile(msgspec.Struct, forbid_unknown_fields=True):
    """The content of the file.

    Attributes:
        collect: The settings of ``fedtrack collect``.
        jobs: What jobs may use here.
        policy: What may leave the sites here.
    """

    collect: CollectTable = msgspec.field(default_factory=CollectTable)
    jobs: JobsTable = msgspec.field(default_factory=JobsTable)
    policy: PolicyTable = msgspec.field(default_factory=PolicyTable)


def read_config(chosen: Path | None = None, *, here: bool = True) -> ConfigFile:
    """Return the content of the chosen file, or of the first that exists; an empty one if there is none.

    The places are FEDTRACK_CONFIG, ``fedtrack.toml`` in the current folder, and ``fedtrack/fedtrack.toml`` in the
    user's configuration folder. Paths in a file are relative to its folder.

    Args:
        chosen: The only place.
        here: Whether the current folder is a place. What is there may have come with a job, so it allows jobs nothing.

    Raises:
        ConfigError: The chosen file does not exist, or a file is not valid.
    """
    named = chosen or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    places = [named] if named else [*([Path(_NAME)] if here else []), user_config()]
    for path in places:
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(f"The configuration {str(path)!r} cannot be read: {error.strerror}.") from None
        return _decoded(path, text)
    if named:
        raise ConfigError(f"The configuration {str(named)!r} does not exist; name a file, or leave it out.")
    return ConfigFile()


def _decoded(path: Path, text: bytes) -> ConfigFile:
    try:
        found = msgspec.convert(tomllib.loads(text.decode()), ConfigFile)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"The configuration {str(path)!r} is not valid: {error}.") from None
    for key in ("folder", "socket", "tls_cert", "tls_key"):
        value = getattr(found.collect, key)
        if value:
            setattr(found.collect, key, str(path.absolute().parent / Path(value).expanduser()))
    if found.policy.file:
        found.policy.file = str(path.absolute().parent / Path(found.policy.file).expanduser())
    return found


def user_config() -> Path:
    """Return the place of the file in the user's configuration folder."""
    return _user_folder() / "fedtrack" / _NAME


def _user_folder() -> Path:
    found = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return found if found.is_absolute() else Path.home() / ".config"
