"""RunTerms: the terms of every site of a run, kept with the run so that a replay knows them, too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from fedtrack.errors import DamagedError
from fedtrack.files import write_whole
from fedtrack.policy.gate import Gate
from fedtrack.policy.policy import CLOSED, Policy
from fedtrack.policy.terms import Terms, terms_of

FILE = "terms.json"


class RunTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The terms of the sites of a run.

    Attributes:
        common: The terms of each site that is not in ``own``; None if there are none.
        own: The terms of sites whose terms differ.
    """

    common: Terms | None = None
    own: dict[str, Terms] = {}

    @classmethod
    def find(cls, sites: Iterable[str], *, job: Policy | None = None, workspace: Path | None = None) -> RunTerms:
        """Return the terms of the sites of a run that begins now; see ``terms_of``."""
        names = list(sites)
        if not names:
            return cls()
        found = {name: terms_of(name, job=job, workspace=workspace) for name in names[:1] + names[-1:]}
        if found[names[0]] == found[names[-1]] and not _differs(names, found[names[0]]):
            return cls(found[names[0]])
        own = {name: terms_of(name, job=job, workspace=workspace) for name in names}
        return cls(None, {name: terms for name, terms in own.items() if terms is not None})

    def of(self, site: str) -> Terms | None:
        """Return the terms of a site."""
        return self.own.get(site, self.common)

    def gate(self, site: str) -> Gate | None:
        """Return a gate for the records of a site in one process; None if it has no terms."""
        terms = self.of(site)
        return None if terms is None else terms.gate()

    def __bool__(self) -> bool:
        return self.common is not None or bool(self.own)

    def kept(self, folder: Path) -> RunTerms:
        """Write the terms into a run's folder and return them.

        What was kept there by an earlier part of the run stays where this part has no owner's policy: nobody loosens a
        policy by leaving out its name.

        Raises:
            WorkspaceError: They cannot be written.
        """
        before = load(folder)
        terms = self if self._has_owner() or not before._has_owner() else before
        if terms:
            write_whole(folder / FILE, msgspec.json.encode(terms))
        return terms

    def _has_owner(self) -> bool:
        return any(terms.path or terms.problem for terms in (self.common, *self.own.values()) if terms is not None)


def load(folder: Path) -> RunTerms:
    """Return the terms that are kept in a run's folder; of a file that cannot be read, terms that release nothing."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=RunTerms)
    except FileNotFoundError:
        return RunTerms()
    except (OSError, msgspec.MsgspecError, DamagedError) as error:
        return RunTerms(Terms((CLOSED,), problem=f"{folder / FILE} cannot be read: {error}"))


def _differs(names: list[str], terms: Terms | None) -> bool:
    """Return whether the path of the owner's policy depends on the site's name."""
    if terms is None or not terms.path or len(names) < 2:
        return False
    return any(name in terms.path for name in names)
