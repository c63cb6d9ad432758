"""Roster: the living and the failed sites of a run, and whether enough of them are left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from fedtrack.errors import JobError, SiteError

log = logging.getLogger(__name__)


class Roster:
    """The sites of a run.

    Args:
        names: The sites, in the job's order.
        needed: The job fails with fewer living sites; None means that all are needed.
        mandatory: Sites without which the job fails.
        on_failure: Called with each site that fails and the reason.

    Attributes:
        names: The sites, in the job's order.
        failed: The reasons of failures, by site.
    """

    def __init__(
        self,
        names: Sequence[str],
        needed: int | None,
        mandatory: Collection[str],
        on_failure: Callable[[str, str], None],
    ) -> None:
        self.names = tuple(names)
        self.failed: dict[str, SiteError] = {}
        self._needed = len(self.names) if needed is None else needed
        self._mandatory = frozenset(mandatory)
        self._on_failure = on_failure
        self._shown: set[str] = set()

    def alive(self) -> list[str]:
        """Return the sites that are alive, in the job's order."""
        return [name for name in self.names if name not in self.failed]

    def fail(self, site: str, error: SiteError) -> None:
        """Remove a site from the living ones; nothing happens if it has failed before.

        Raises:
            JobError: Too few sites are left, or the job needs this one.
        """
        if site in self.failed:
            return
        self.failed[site] = error
        self._on_failure(site, str(error))
        left = len(self.names) - len(self.failed)
        if site in self._mandatory:
            raise JobError(f"{error}. The job needs this site (mandatory_clients).", error.details)
        if left < self._needed:
            raise JobError(
                f"{error}. {left} of {len(self.names)} sites are left, the job needs {self._needed}.", error.details
            )
        details = "" if error.details in self._shown else f"\n{error.details.rstrip()}"
        self._shown.add(error.details)
        log.error("%s; going on with %d sites%s", error, left, details.rstrip())
