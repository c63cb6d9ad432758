"""Config: the JSON files of an exported job as typed structures, and the errors for invalid ones.

The shape is FLARE's (``format_version``, ``workflows``, ``components`` of id, path and args, ``executors``), but
``path`` is a registered name: nothing that a file says is ever imported.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.spool.spool import DEFAULT_LIMIT_BYTES, MIN_LIMIT_BYTES, Durability

META_FILE = "meta.json"
SERVER_FILE = "config/config_fed_server.json"
CLIENT_FILE = "config/config_fed_client.json"


T = TypeVar("T")


class ComponentConfig(msgspec.Struct, forbid_unknown_fields=True):
    """A component: its id in the job, its registered name and its arguments."""

    id: str
    path: str
    args: dict[str, Any] = {}


class ExecutorComponent(msgspec.Struct, forbid_unknown_fields=True):
    """The executor of a site's tasks; its id is optional here, as in FLARE."""

    path: str
    args: dict[str, Any] = {}
    id: str = ""


class ExecutorConfig(msgspec.Struct, forbid_unknown_fields=True):
    """An executor and its tasks; ``["*"]`` means all."""

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


class Meta(msgspec.Struct, forbid_unknown_fields=True):
    """``meta.json``: the settings of the job as a whole.

    Attributes:
        name: The job's name.
        deploy_map: The nodes of each app folder.
        min_clients: The job fails with fewer sites; None means that all sites are needed.
        mandatory_clients: Sites without which the job fails.
        idle_timeout: A site fails after this many seconds without an answer or a logged event.
        durability: What a returned log call survives; see ``fedtrack.spool.spool``.
        spool_limit: The most bytes of a process's records on its disk that are not in a journal yet.
        format_version: The format of this file and of the job's other files.
    """

    name: str
    deploy_map: dict[str, list[str]]
    min_clients: int | None = None
    mandatory_clients: list[str] = []
    idle_timeout: float = 3600.0
    durability: Durability = "process"
    spool_limit: Annotated[int, msgspec.Meta(ge=MIN_LIMIT_BYTES)] = DEFAULT_LIMIT_BYTES
    format_version: int = 2


FORMAT_VERSION = 2


def read_json(path: Path, type_: type[T]) -> T:
    """Read a file into ``type_``.

    Raises:
        ConfigError: The file is missing, is not JSON or has another shape; the message names file, place and value.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        value: T = msgspec.json.decode(content, type=type_)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}.") from None
    version = getattr(value, "format_version", FORMAT_VERSION)
    if version > FORMAT_VERSION:
        raise ConfigError(
            f"{path}: format_version is {version}; this version of fedtrack reads up to {FORMAT_VERSION}."
        )
    return value


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=4) + b"\n")


_SECRET_KEY = re.compile(r"(?:^|_)(?:api_?key|access_key|secret|secret_key|token|password|passwd)$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"\w+://[^/\s:@]*:[^/\s@]+@")
_REFERENCE = re.compile(r"\$\{ENV:[A-Za-z_][A-Za-z0-9_]*\}")


def refuse_secrets(value: Any, where: str, key: str = "") -> None:
    """Check that a job contains no secret itself, only ``${ENV:NAME}``, which the process that uses it resolves.

    Raises:
        ConfigError: A value looks like a secret; the message names the place and not the value.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            refuse_secrets(item, f"{where}.{name}", str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            refuse_secrets(item, f"{where}[{index}]", key)
    elif isinstance(value, str) and _looks_secret(key, value):
        raise ConfigError(
            f"{where} holds a secret; write ${{ENV:NAME}} instead and set the variable where the value is used."
        )


def _looks_secret(key: str, value: str) -> bool:
    if _REFERENCE.search(value):
        return False
    return bool((_SECRET_KEY.search(key) and value) or _URL_PASSWORD.search(value))


def resolve_references(value: Any, environment: dict[str, str], where: str) -> Any:
    """Return ``value`` with every ``${ENV:NAME}`` replaced from ``environment``.

    Raises:
        ConfigError: A variable is not set.
    """
    if isinstance(value, dict):
        return {key: resolve_references(item, environment, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [resolve_references(item, environment, f"{where}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> str:
        name = match[0][len("${ENV:") : -1]
        if name not in environment:
            raise ConfigError(f"{where} needs the environment variable {name}, which is not set; set it here.")
        return environment[name]

    return _REFERENCE.sub(lookup, value)
