"""OperatorRules: which environment variables and which hosts the receivers of a job may use on this node.

A job is written by somebody else than the node's operator. Without rules it could read any variable, such as the keys
of a cloud, and send the value to an address of its author. The rules are the table ``[jobs]`` of ``fedtrack.toml``; a
job cannot bring that file along, because the current folder is no place for it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fedtrack.config_file import CONFIG_VARIABLE, read_config, user_config
from fedtrack.errors import ConfigError
from fedtrack.job.references import REFERENCE, names_in
from fedtrack.tracking.receiver import Receiver

#: Environment variables of the operator that win over the file; names are separated by commas.
VARIABLES, HOSTS = "FEDTRACK_JOB_VARIABLES", "FEDTRACK_JOB_HOSTS"

_LOOPBACK = ("localhost", "127.*", "::1")
#: Ends of the names of arguments whose value is an address even without ``://``.
_ADDRESSES = ("host", "hostname", "server", "endpoint", "address")
#: Schemes of files of this machine, and of stores whose "host" is the name of a bucket.
_NO_HOST = frozenset(("", "file", "sqlite", "s3", "gs", "abfss", "wasbs", "hdfs", "dbfs", "mlflow-artifacts"))


@dataclass(frozen=True)
class OperatorRules:
    """What jobs may use on this node.

    Attributes:
        variables: Patterns of the names of environment variables, beside those that a receiver declares.
        hosts: Patterns of hosts. None allows each host, but only this machine where the value of a variable goes.
    """

    variables: tuple[str, ...] = ()
    hosts: tuple[str, ...] | None = None

    @classmethod
    def of_this_node(cls) -> OperatorRules:
        """Return the rules of the environment and of ``fedtrack.toml``.

        Raises:
            ConfigError: The file is not valid, or others may write it.
        """
        _check_owner()
        table = read_config(here=False).jobs
        variables, hosts = os.environ.get(VARIABLES), os.environ.get(HOSTS)
        named = table.hosts if hosts is None else _names(hosts)
        return cls(
            tuple(table.variables if variables is None else _names(variables)),
            None if named is None else tuple(named),
        )

    def check(self, receiver: type[Receiver], args: Mapping[str, Any], where: str) -> None:
        """Check the arguments of a job's receiver, with its references not yet resolved.

        Raises:
            ConfigError: It refers to a variable, or names a host, that the operator has not allowed.
        """
        allowed = (*declared_variables(receiver), *self.variables)
        names = names_in(args)
        for name, place in names.items():
            if not any(fnmatchcase(name, pattern) for pattern in allowed):
                raise ConfigError(
                    f"{where}{place} refers to {name}, which jobs may not read here; allowed are {', '.join(allowed)}. "
                    f"The operator of this node can add it: {VARIABLES}={name}, or variables = [{name!r}] in the "
                    f"table [jobs] of {user_config()}."
                )
        hosts = _LOOPBACK if self.hosts is None and names else self.hosts
        for place, host in _hosts(args, "") if hosts is not None else ():
            if not any(fnmatchcase(host.lower(), pattern.lower()) for pattern in hosts or ()):
                reason = "" if self.hosts is not None else f", where the value of {next(iter(names))} would go"
                raise ConfigError(
                    f"{where}{place} names the host {host!r}{reason}, which the operator of this node has not allowed; "
                    f"the operator can add it: {HOSTS}={host}, or hosts = [{host!r}] in the table [jobs] of "
                    f"{user_config()}."
                )


def declared_variables(receiver: type[Receiver]) -> tuple[str, ...]:
    """Return the patterns of the variables that a receiver declares; by default those that begin with its name."""
    return receiver.variables or (f"{receiver.name.upper().replace('-', '_')}_*",)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _check_owner() -> None:
    """Refuse a file by which another user could allow something."""
    path = Path(os.environ.get(CONFIG_VARIABLE) or user_config())
    try:
        found = path.stat()
    except OSError:
        return
    if found.st_uid not in (0, os.getuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"The configuration {str(path)!r} can be written by others, who could allow jobs anything; "
            f"chown it to yourself and chmod it to 600."
        )


def _hosts(value: Any, place: str, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the hosts that are written in arguments, with their places; not those that a variable names."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _hosts(item, f"{place}.{name}", str(name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _hosts(item, f"{place}[{index}]", key)
    elif isinstance(value, str) and (host := _host_of(key, value)):
        yield place, host


def _host_of(key: str, value: str) -> str:
    """Return the host in a text, "" if there is none or it is a reference; the text itself if it cannot be told."""
    # Two references, or one and a text, may be the name of any host together.
    text = REFERENCE.sub("", value) if REFERENCE.fullmatch(value) else REFERENCE.sub("x", value)
    if not text or ("://" not in text and not key.lower().endswith(_ADDRESSES)):
        return ""
    if any(char <= " " or char == "\\" for char in text):
        return text  # parsers differ in what the host of such an address is
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host = parts.hostname or ""
    except ValueError:
        return text
    if parts.scheme.partition("+")[0].lower() in _NO_HOST and "://" in text:
        return ""
    written = _written_host(value)
    return "" if REFERENCE.fullmatch(written) else host


def _written_host(value: str) -> str:
    """Return the host of an address as it is written, with its references."""
    rest = value.partition("://")[2] or value
    for end in "/?#":
        # A reference has none of these characters.
        rest = rest.partition(end)[0]
    rest = rest.rpartition("@")[2]
    head, colon, port = rest.rpartition(":")
    return head if colon and (port.isdecimal() or REFERENCE.fullmatch(port)) else rest
