"""Meta: the settings of a job as a whole, ``meta.json``."""

from __future__ import annotations

from typing import Annotated

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.job.values import (
    ALL_SITES,
    Count,
    Name,
    Seconds,
    check_count,
    check_name,
    check_no_repetition,
    check_seconds,
)
from fedtrack.policy.policy import Policy
from fedtrack.spool.spool import DEFAULT_LIMIT_BYTES, MIN_LIMIT_BYTES, Durability
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.normalise import shorten
from fedtrack.view.options import ViewMode


class Meta(msgspec.Struct, forbid_unknown_fields=True):
    """``meta.json``: the settings of the job as a whole.

    Attributes:
        name: The job's name.
        deploy_map: The nodes of each app folder: ``server`` and the names of sites. ``@ALL`` in the place of names
            stands for all sites, whose names are then given when the job is run.
        min_clients: The job fails with fewer sites; None means that all sites are needed.
        mandatory_clients: Sites without which the job fails.
        idle_timeout: A site fails after this many seconds without an answer or a logged event.
        durability: What a returned log call survives: ``process``, ``host`` or ``disk``.
        spool_limit: The most bytes of a process's records on its disk that are not in a journal yet.
        view: What is computed over the sites: from the ``last`` value of each in a round, from their ``mean``, or
            nothing (``off``).
        format_version: The format of this file and of the job's other files.
        policy: What may leave the sites, beside the policy of each site's owner; the strictest wins.
    """

    name: Name
    deploy_map: dict[Name, list[str]]
    min_clients: Count | None = None
    mandatory_clients: list[Name] = []
    idle_timeout: Seconds = 3600.0
    durability: Durability = "process"
    spool_limit: Annotated[int, msgspec.Meta(ge=MIN_LIMIT_BYTES)] = DEFAULT_LIMIT_BYTES
    view: ViewMode = "last"
    format_version: int = 2
    policy: Policy | None = None

    def __post_init__(self) -> None:
        check_name("$.name", self.name)
        self._check_deploy_map()
        check_count("$.min_clients", self.min_clients)
        check_seconds("$.idle_timeout", self.idle_timeout, zero=False)
        check_no_repetition("$.mandatory_clients", self.mandatory_clients)
        if not self.is_for_all_sites:
            self.check_sites(self.sites)

    @property
    def is_for_all_sites(self) -> bool:
        """Whether the names of the sites are given when the job is run."""
        return any(ALL_SITES in nodes for nodes in self.deploy_map.values())

    @property
    def sites(self) -> list[str]:
        """The names of the sites, in the job's order; none if they are given when the job is run."""
        return [node for nodes in self.deploy_map.values() for node in nodes if node not in (SERVER, ALL_SITES)]

    def check_sites(self, sites: list[str]) -> None:
        """Check the settings that depend on the sites.

        Raises:
            ConfigError: There is no site, too few of them, or not the ones that the job needs.
        """
        if not sites:
            raise ConfigError('$.deploy_map names no site; add "app_site-1": ["site-1"].')
        if self.min_clients is not None and self.min_clients > len(sites):
            raise ConfigError(
                f"$.min_clients is {self.min_clients}, but the job has {len(sites)} sites; give at most {len(sites)}."
            )
        if unknown := sorted(set(self.mandatory_clients) - set(sites)):
            raise ConfigError(
                f"$.mandatory_clients names {shorten(unknown[0])}, which is no site of the job: {_listed(sites)}."
            )

    def _check_deploy_map(self) -> None:
        homes: dict[str, str] = {}
        for app, nodes in self.deploy_map.items():
            check_name("A name in $.deploy_map", app)
            if not nodes:
                raise ConfigError(f"$.deploy_map.{app} is empty; name its nodes, or remove it.")
            for node in nodes:
                if node != ALL_SITES:
                    check_name(f"A node in $.deploy_map.{app}", node)
                if node in homes:
                    raise ConfigError(
                        f"$.deploy_map gives {node!r} the app {homes[node]!r} and {app!r}; a node has one app."
                    )
                homes[node] = app
        if ALL_SITES in homes and homes.keys() - {SERVER, ALL_SITES}:
            raise ConfigError(f"$.deploy_map names {ALL_SITES!r} and sites; give either all by name, or none.")
        if SERVER not in homes and ALL_SITES not in homes:
            raise ConfigError('$.deploy_map names no app for \'server\'; add "app_server": ["server"].')


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
