"""Names of runs and sites: they become names of folders, and parts of an address."""

from __future__ import annotations

import re

from fedtrack.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?\Z")
_RULE = "use 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends"
#: Names of folders of a run that belong to no site.
_RESERVED = frozenset(("server", "job", "earlier", "lock"))


def checked_run(name: str) -> str:
    """Return the name of a run.

    Raises:
        ConfigError: It is not valid.
    """
    if not _NAME.match(name):
        raise ConfigError(f"The run {name[:80]!r} is not valid; {_RULE}.")
    return name


def checked_site(name: str) -> str:
    """Return the name of a site.

    Raises:
        ConfigError: It is not valid.
    """
    if not _NAME.match(name) or name.lower() in _RESERVED:
        reserved = ", ".join(sorted(_RESERVED))
        raise ConfigError(f"The site {name[:80]!r} is not valid; {_RULE}. Not available are: {reserved}.")
    return name
