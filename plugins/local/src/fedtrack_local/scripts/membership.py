"""Membership: how a process that was started by a site's script or command finds its site, through the environment."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fedtrack.client.backend import BACKEND_VARIABLE
from fedtrack.errors import ConfigError
from fedtrack.files import write_whole
from fedtrack_local.processes.failure_report import report_uncaught
from fedtrack_local.processes.messages import SiteSpec
from fedtrack_local.scripts.site_backend import SiteBackend
from fedtrack_local.scripts.site_channel import SiteChannel
from fedtrack_local.scripts.variables import SPEC_VARIABLE

_BACKEND = "fedtrack_local.scripts.membership:from_environment"


def publish(spec: SiteSpec) -> None:
    """Let the processes that this one starts from now on belong to the site.

    Raises:
        WorkspaceError: The file with the spec cannot be written.
    """
    path = Path(spec.spool).parent / "site_spec.json"
    write_whole(path, msgspec.json.encode(spec))
    os.environ[BACKEND_VARIABLE] = _BACKEND
    os.environ[SPEC_VARIABLE] = str(path)


def read_spec(environment: Mapping[str, str]) -> SiteSpec:
    """Return the spec of the site that a process belongs to.

    Raises:
        ConfigError: The environment does not name it, or the file is not there.
    """
    path = environment.get(SPEC_VARIABLE, "")
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=SiteSpec)
    except OSError as error:
        raise ConfigError(
            f"The spec of this process's site, {SPEC_VARIABLE}={path!r}, cannot be read ({error.strerror}); a launcher "
            f"must pass on {BACKEND_VARIABLE} and {SPEC_VARIABLE}, and the script must see the run's workspace."
        ) from None
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"The spec of this process's site, {path}, is of another version of fedtrack ({error}); use the Python "
            "environment of the run."
        ) from None


def from_environment() -> SiteBackend:
    """Join the site that the environment names."""
    spec = read_spec(os.environ)
    backend = SiteBackend(spec, SiteChannel(spec))
    # Runs after the script's own exit handlers, which may still log: handlers run in reverse order.
    atexit.register(backend.leave)
    report_uncaught(backend.report, spec.custom)
    return backend
