"""Config: the JSON files of an exported job as typed structures, and the errors for invalid ones.

The shape is FLARE's (``format_version``, ``workflows``, ``components`` of id, path and args, ``executors``), but
``path`` is a registered name: nothing that a file says is ever imported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.job.meta import Meta
from fedtrack.job.values import Name, Text
from fedtrack.tracking.normalise import shorten

__all__ = ["ClientConfig", "ComponentConfig", "ExecutorConfig", "Meta", "ServerConfig", "read_json", "write_json"]

META_FILE = "meta.json"
SERVER_FILE = "config/config_fed_server.json"
CLIENT_FILE = "config/config_fed_client.json"

#: The most bytes of a file: enough for a million sites, and too few to fill the memory of a server.
MAX_FILE_BYTES = 64 * 1024 * 1024


T = TypeVar("T")


class ComponentConfig(msgspec.Struct, forbid_unknown_fields=True):
    """A component: its id in the job, its registered name and its arguments."""

    id: Name
    path: Text
    args: dict[str, Any] = {}


class ExecutorComponent(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The executor of a site's tasks; its id is optional here, as in FLARE."""

    path: Text
    args: dict[str, Any] = {}
    id: str = ""


class ExecutorConfig(msgspec.Struct, forbid_unknown_fields=True):
    """An executor and its tasks: ``train``, ``validate``, ``submit_model``; ``["*"]`` means all.

    A site has one executor, so the tasks of the job's workflows must be among its tasks.
    """

    executor: ExecutorComponent
    tasks: list[str] = msgspec.field(default_factory=lambda: ["*"])


class ServerConfig(msgspec.Struct, forbid_unknown_fields=True):
    """``config_fed_server.json``."""

    format_version: int
    workflows: list[ComponentConfig]
    components: list[ComponentConfig] = []
    task_data_filters: list[Any] = []
    task_result_filters: list[Any] = []


class ClientConfig(msgspec.Struct, forbid_unknown_fields=True):
    """``config_fed_client.json``."""

    format_version: int
    executors: list[ExecutorConfig]
    components: list[ComponentConfig] = []
    task_data_filters: list[Any] = []
    task_result_filters: list[Any] = []


FORMAT_VERSION = 2


def read_json(path: Path, type_: type[T]) -> T:
    """Read a file into ``type_``.

    Raises:
        ConfigError: The file is missing, is not JSON or has another shape; the message names file, place and value.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} has {size:,} bytes; a file of a job has at most {MAX_FILE_BYTES:,}.")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        value: T = msgspec.json.decode(content, type=type_)
        _check_text(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}.") from None
    except RecursionError:
        raise ConfigError(f"{path} has lists or objects in each other, too deep to be read; make it flat.") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    version = getattr(value, "format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        valid = f"this version of fedtrack reads {'up to ' if version > FORMAT_VERSION else ''}{FORMAT_VERSION}"
        raise ConfigError(f"{path}: $.format_version is {version}; {valid}.")
    return value


def _check_text(content: bytes) -> None:
    """Refuse what a reader of the file would not see: a key that is there twice, and a NUL in a text.

    Of two equal keys a JSON parser keeps one, so that the other one would be ignored.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ConfigError(f"the key {shorten(key)} is there twice in one object; keep one.")
            if "\0" in key or (isinstance(value, str) and "\0" in value):
                raise ConfigError(f"{shorten(key)} has a NUL character; remove it.")
            if isinstance(value, list) and any(isinstance(item, str) and "\0" in item for item in value):
                raise ConfigError(f"{shorten(key)} has a NUL character; remove it.")
            found[key] = value
        return found

    json.loads(content, object_pairs_hook=once)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=4) + b"\n")
