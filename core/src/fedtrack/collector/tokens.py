"""Tokens: the secrets of sites, of which a collector stores only a hash.

A token is ``ft_<id>_<secret>``, or ``ftn_<id>_<secret>`` for a pattern of sites. The id finds the entry, and the hash
of the secret is compared in constant time. The secret has 256 random bits, so a plain SHA-256 is enough: there is no
dictionary to try.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from time import time

import msgspec

from fedtrack.connection.names import checked_site
from fedtrack.errors import ConfigError, DamagedError, WorkspaceError
from fedtrack.files import write_whole
from fedtrack.json_text import read_json_file
from fedtrack.transport.https import PATTERN_PREFIX, TOKEN_PREFIX

TOKENS_FILE = "tokens.json"

_ID_BYTES, _SECRET_BYTES = 6, 32
_WILDCARDS = frozenset("*?[")
#: Compared with the secret of a token that does not exist, so that it takes as long as one that does.
_NOBODY = hashlib.sha256(b"").hexdigest()


class Token(msgspec.Struct, frozen=True):
    """A token's entry; it has no secret.

    Attributes:
        id: The token's public part.
        site: The site's name, or a pattern of names for a process that works for many sites.
        runs: A pattern of the runs that it may write.
        hash: SHA-256 of the secret, in hex.
        created: Seconds since the epoch.
        expires: Seconds since the epoch; None means never.
        revoked: When it was revoked, in seconds since the epoch; None if it is valid.
        reads: Whether it may read the collector's metrics, and write nothing.
    """

    id: str
    site: str
    runs: str
    hash: str
    created: float
    expires: float | None = None
    revoked: float | None = None
    reads: bool = False

    @property
    def is_pattern(self) -> bool:
        """Whether the token is for many sites."""
        return not _WILDCARDS.isdisjoint(self.site)

    def state(self, now: float) -> str:
        """Return ``valid``, ``expired`` or ``revoked``."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "valid"

    def allows_run(self, run: str) -> bool:
        """Return whether the token may write the run."""
        return not self.reads and fnmatchcase(run, self.runs)

    def allows_site(self, site: str) -> bool:
        """Return whether the token speaks for the site."""
        return not self.reads and fnmatchcase(site, self.site)


class Tokens:
    """The tokens of a collector; another process may change them at any time.

    Args:
        folder: The collector's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / TOKENS_FILE
        self._lock = folder / f".{TOKENS_FILE}.lock"
        self._read_at: tuple[int, int, int] | None = None
        self._entries: dict[str, Token] = {}

    def add(self, site: str, *, runs: str = "*", days: float | None = None, reads: bool = False) -> str:
        """Make a token and return it; it is not stored, so nobody can show it again.

        Args:
            site: The site's name, or a pattern such as ``hospital-*``.
            runs: A pattern of the runs that it may write.
            days: After how many days it expires; None means never.
            reads: Whether it may only read the collector's metrics.

        Raises:
            ConfigError: A value is not valid.
            WorkspaceError: The tokens cannot be stored.
        """
        if _WILDCARDS.isdisjoint(site):
            checked_site(site)
        elif not site.strip():
            raise ConfigError("The site is empty; name a site, or a pattern such as 'hospital-*'.")
        if not runs:
            raise ConfigError("--runs is empty; name a run, or a pattern such as 'study-*'; '*' means every run.")
        if days is not None and not 0 < days < 36_500:
            raise ConfigError(f"--days is {days:g}; a token is valid for more than 0 and less than 36,500 days.")
        id_, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        now = time()
        entry = Token(id_, site, runs, _hashed(secret), now, None if days is None else now + days * 86_400, None, reads)
        with self._changing() as entries:
            entries[id_] = entry
        return f"{_prefix(entry)}{id_}_{secret}"

    def revoke(self, which: str) -> list[Token]:
        """Revoke the valid tokens of a site, or the one with this id, and return them.

        Raises:
            ConfigError: There is none.
        """
        with self._changing() as entries:
            found = [one for one in entries.values() if which in (one.id, one.site) and one.revoked is None]
            if not found:
                raise ConfigError(f"{which!r} has no valid token; `fedtrack collect tokens list` shows all.")
            for one in found:
                entries[one.id] = msgspec.structs.replace(one, revoked=time())
        return [entries[one.id] for one in found]

    def all(self) -> list[Token]:
        """Return every token's entry, oldest first.

        Raises:
            DamagedError: The file is not one of tokens.
        """
        self._refresh()
        return sorted(self._entries.values(), key=lambda one: one.created)

    def find(self, presented: str) -> Token | None:
        """Return the entry of a token that is valid now; None if there is none."""
        self._refresh()
        _, _, rest = presented.partition("_")
        id_, _, secret = rest.partition("_")
        entry = self._entries.get(id_)
        if entry is not None and not presented.startswith(_prefix(entry)):
            entry = None
        right = hmac.compare_digest(_hashed(secret), entry.hash if entry else _NOBODY)
        return entry if entry is not None and right and entry.state(time()) == "valid" else None

    def _refresh(self) -> None:
        """Read the file if it has changed."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._entries, self._read_at = {}, None
            return
        mark = (status.st_ino, status.st_mtime_ns, status.st_size)
        if mark != self._read_at:
            self._entries = {one.id: one for one in self._stored()}
            self._read_at = mark

    def _stored(self) -> list[Token]:
        try:
            return read_json_file(self._path, list[Token])
        except FileNotFoundError:
            return []
        except msgspec.MsgspecError as error:
            raise DamagedError(
                f"{self._path} is not a list of tokens: {error}; restore it, or remove it and make new tokens."
            ) from None

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Token]]:
        """Yield the entries, and store them at the end; only one process does so at a time."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise WorkspaceError(f"{self._path} cannot be written: {error.strerror}.") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = {one.id: one for one in self._stored()}
            yield entries
            write_whole(self._path, msgspec.json.format(msgspec.json.encode(list(entries.values())), indent=1))
        finally:
            with suppress(OSError):
                os.close(lock)


def _prefix(entry: Token) -> str:
    return PATTERN_PREFIX if entry.is_pattern else TOKEN_PREFIX


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
