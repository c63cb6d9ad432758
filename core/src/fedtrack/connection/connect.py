"""connect: tracks a training that runs under another framework, or under none."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from time import time_ns
from uuid import uuid4

from fedtrack.connection.connected_run import ConnectedRun, FolderWay, HttpsWay
from fedtrack.connection.file_system import warn_of_memory
from fedtrack.connection.names import checked_run, checked_site
from fedtrack.connection.outbox import Outbox, Target
from fedtrack.errors import ConfigError, PluginError
from fedtrack.policy.run_terms import RunTerms
from fedtrack.spool.identity import SpoolIdentity
from fedtrack.spool.spool import DEFAULT_LIMIT_BYTES, Durability, Spool
from fedtrack.transport.address import Address

_SCHEMES = ("https://", "http://", "unix://")


def connect(
    target: str | os.PathLike[str] | None = None,
    *,
    site: str | None = None,
    run: str | None = None,
    token: str | None = None,
    outbox: str | os.PathLike[str] | None = None,
    durability: Durability = "process",
    spool_limit: int = DEFAULT_LIMIT_BYTES,
) -> ConnectedRun:
    """Join a run of a collector, as one site; fedtrack's writers in this thread then log to it.

    Nothing here waits for the collector: a log call is one write to this machine's disk, and an agent, a process of its
    own, sends what was written. So the collector may be down, restarted or far away.

    Args:
        target: The collector: ``https://HOST:PORT``, ``unix:///PATH``, or its folder if this machine has it. None means
            the environment variable FEDTRACK_URL.
        site: The site's name; None means FEDTRACK_SITE.
        run: The run's name, the same at every site; None means FEDTRACK_RUN.
        token: The secret that ``fedtrack collect tokens add SITE`` has shown; None means FEDTRACK_TOKEN. A folder needs
            none: there the site's name is what it claims to be.
        outbox: The folder of records that are on their way; None means FEDTRACK_OUTBOX, or one in the user's state
            folder. It should be on a disk that outlives the training.
        durability: ``process``: a log call that returned survives the death of the process. ``host``: at most 0.5 s are
            lost when the power fails. ``disk``: nothing is.
        spool_limit: The most bytes of this process's records that are not confirmed yet; further ones are dropped and
            counted.

    Returns:
        The site's part in the run.

    Raises:
        ConfigError: A value is missing or not valid.
        PluginError: httpx2, the HTTP client, is not installed.
        WorkspaceError: The outbox or the folder cannot be written.
    """
    where = str(target) if target is not None else os.environ.get("FEDTRACK_URL", "")
    site = checked_site(_given(site, "site", "FEDTRACK_SITE"))
    name = checked_run(_given(run, "run", "FEDTRACK_RUN"))
    if not where:
        raise ConfigError(
            "connect() has no target; give a collector's address (https://HOST:PORT) or its folder, or set "
            "FEDTRACK_URL."
        )
    if not where.startswith(_SCHEMES):
        if "://" in where:
            Address.of(where)
        return _to_folder(Path(where), name, site, durability, spool_limit)
    Address.of(where)
    _check_installed()
    secret = _given(token, "token", "FEDTRACK_TOKEN")
    box = Outbox(None if outbox is None else Path(outbox)).run(Target(where.rstrip("/"), name))
    mine = box.site(site)
    warn_of_memory(mine.spool)
    mine.keep_token(secret)
    identity = SpoolIdentity(name, site)
    gate = RunTerms.find([site], workspace=mine.folder).kept(mine.folder).gate(site)
    spool = Spool(mine.spool, durability=durability, limit_bytes=spool_limit, identity=identity, gate=gate)
    return ConnectedRun(name, site, spool, HttpsWay(box, mine, secret))


def _to_folder(folder: Path, run: str, site: str, durability: Durability, limit: int) -> ConnectedRun:
    from fedtrack.connection.run_folder import RunFolder

    place = RunFolder(folder.absolute(), run)
    record = place.create(uuid4().hex, time_ns())
    identity = SpoolIdentity(record.run_id, site)
    mine = place.spool(site).parent
    mine.mkdir(mode=0o700, parents=True, exist_ok=True)
    gate = RunTerms.find([site], workspace=mine).kept(mine).gate(site)
    spool = Spool(place.spool(site), durability=durability, limit_bytes=limit, identity=identity, gate=gate)
    return ConnectedRun(run, site, spool, FolderWay(spool.folder))


def _given(value: str | None, name: str, variable: str) -> str:
    found = os.environ.get(variable, "") if value is None else value
    if not isinstance(found, str) or not found.strip():
        raise ConfigError(f"connect() has no {name}; give {name}=, or set {variable}.")
    return found.strip()


def _check_installed() -> None:
    if find_spec("httpx2") is None:  # it is imported by the agent only: that takes a tenth of a second
        from fedtrack.plugins.remedy import install

        raise PluginError(
            f"connect() needs httpx2, which is not installed; install it with: {install('fedtrack[connect]')}"
        )
