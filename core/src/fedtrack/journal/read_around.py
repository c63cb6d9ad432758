"""ReadAround: what can be read of a damaged journal, as a journal without damage in a temporary folder."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from fedtrack.journal.database import Database, copy_of, is_damage, is_unreachable, reading_uri
from fedtrack.journal.rescue import rescue
from fedtrack.journal.schema import JOURNAL

log = logging.getLogger(__name__)

#: A journal that still grows is read again, but most of the time nothing else is done with it.
_PAUSES = 20
_LEAST_PAUSE_SECONDS = 0.5

_KEPT = 3


class ReadAround:
    """An intact copy of what a damaged journal has.

    Args:
        path: The damaged journal, which is only read.
        reason: The damage, as SQLite describes it.

    Raises:
        OSError: The journal cannot be read.
        WorkspaceError: There is no room for the copy.
    """

    def __init__(self, path: Path, reason: str) -> None:
        log.error("%s is damaged, and read around the damage: %s", path, reason)
        self.reason = reason
        self._path = path
        self._lock = threading.Lock()
        self._folder = TemporaryDirectory(prefix="fedtrack-journal-")
        self._number = 0
        self._not_before = 0.0
        self._opened: list[Database] = []
        self._copy()

    def database(self, *, fresh: bool) -> Database:
        """Return the copy, or a newer one if the journal has changed meanwhile.

        Args:
            fresh: Whether every change counts; otherwise a journal that grows is copied again from time to time only.
        """
        with self._lock:
            if (fresh or monotonic() >= self._not_before) and self._state != _state_of(self._path):
                with contextlib.suppress(OSError):
                    self._copy()
            return self._opened[-1]

    def close(self) -> None:
        """Delete the copy."""
        for database in self._opened:
            database.close()
        self._folder.cleanup()

    def _copy(self) -> None:
        started = monotonic()
        self._state = _state_of(self._path)
        self._number += 1
        target = Path(self._folder.name) / f"journal-{self._number}.db"
        rescue(self._path, target)
        self._opened.append(Database(target, JOURNAL, read_only=True))
        # The copy before this one may still be in use by another thread.
        while len(self._opened) > _KEPT:
            oldest = self._opened.pop(0)
            oldest.close()
            oldest.path.unlink(missing_ok=True)
        self._not_before = monotonic() + max(_LEAST_PAUSE_SECONDS, _PAUSES * (monotonic() - started))


def _state_of(path: Path) -> tuple[tuple[int, int], ...]:
    return tuple(_stat(one) for one in (path, path.with_name(f"{path.name}-wal")))


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_size, found.st_mtime_ns)


#: The result for each file that this process has checked, with the state that it had.
_checked: dict[Path, tuple[tuple[tuple[int, int], ...], str]] = {}


def damage_of(path: Path) -> str:
    """Return the damage that SQLite finds in a file, or ""; also "" if there is no file. Nothing is written.

    All of the file is read, but not again as long as it is unchanged.
    """
    state = _state_of(path)
    if path not in _checked or _checked[path][0] != state:
        _checked[path] = state, _damage_of(path)
    return _checked[path][1]


def _damage_of(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        return _check(reading_uri(path), uri=True)
    except sqlite3.OperationalError as error:
        if not is_unreachable(error):
            return str(error)
    with copy_of(path) as folder:  # beside the file, SQLite cannot create what it needs to read its write-ahead log
        return _check(str(Path(folder) / path.name))


def _check(name: str, *, uri: bool = False) -> str:
    """Return the first damage that SQLite finds in a file, or "".

    Raises:
        sqlite3.OperationalError: The file cannot be read, for another reason.
    """
    try:
        with contextlib.closing(sqlite3.connect(name, uri=uri)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return str(error)
        raise
    if found != "ok":
        return " ".join(line.strip() for line in found.splitlines() if not line.startswith("***"))
    return "its tables are gone" if not tables and pages > 1 else ""
