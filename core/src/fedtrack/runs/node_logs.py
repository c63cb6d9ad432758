"""Node logs: the log files of a server and of sites, read from their beginning and then as they grow."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fedtrack.errors import ConfigError
from fedtrack.files import open_plain
from fedtrack.runs.child_run import ChildRun
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.worker_folders import worker_folders
from fedtrack.runs.workspace import RUNS_FOLDER
from fedtrack.tracking.events import SERVER

_NAMES = ("*log.txt", "*.log")
_CHUNK = 64 * 1024


class FollowedLog:
    """A log file of which each line is returned once, also if it is replaced by another file or cut.

    Args:
        path: The file, which need not exist yet. Nothing is followed that is a link, a pipe or a file of somebody else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def new_lines(self, *, ended: bool = False) -> Iterator[str]:
        """Yield the lines that have been added since the last call.

        Args:
            ended: Whether nothing more is written, so that a line without an end is one, too.
        """
        with suppress(OSError), open_plain(self.path) as file:
            found = os.fstat(file.fileno())
            if found.st_ino != self._inode or found.st_size < self._offset:
                yield from self._flushed()
                self._inode, self._offset = found.st_ino, 0
            file.seek(self._offset)
            while data := file.read(_CHUNK):
                self._offset += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                yield from map(_text, lines)
                if len(self._rest) > _CHUNK:  # no line: it would be kept in memory as a whole
                    yield from self._flushed()
        if ended:
            yield from self._flushed()

    def _flushed(self) -> Iterator[str]:
        rest, self._rest = self._rest, b""
        if rest:
            yield _text(rest)


def last_lines(log: FollowedLog, most: int | None, *, ended: bool) -> Iterator[str]:
    """Return the last lines of a log that was not read before.

    Args:
        log: The log.
        most: Their greatest number; None for all lines.
        ended: See ``FollowedLog.new_lines``.
    """
    lines = log.new_lines(ended=ended)
    return lines if most is None else iter(deque(lines, most))


def log_files(run: StoredRun, site: str) -> list[Path]:
    """Return the log files of a site, or of the server, that are here.

    Of sites that share processes, the logs of all of these processes are returned.

    Args:
        run: The run.
        site: The name of a site, or ``server``.

    Raises:
        ConfigError: The run has no such site.
    """
    own = _in(run.node(site)) if site in run.nodes() or (run.node(site) / "spool").exists() else []
    if site == SERVER:
        return [*_of_its_process(run), *own]
    shared = [path for folder in sorted(worker_folders(run.workers)) for path in _in(folder)]
    if own or (shared and site in run.sites()):
        return own or shared
    if site not in run.sites():
        names = ", ".join([SERVER, *run.sites()[:20]])
        raise ConfigError(f"The run in {str(run.base)!r} has no site {site!r}; it has: {names}.")
    return []


def _of_its_process(run: StoredRun) -> list[Path]:
    """Return what the server of a submitted run has printed."""
    record = run.record
    if record is None or "/" in record.run_id:  # a name that another process has written
        return []
    roots = [run.base, *([run.base.parent.parent] if run.base.parent.name == RUNS_FOLDER else [])]
    return [log for log in (ChildRun(root, record.run_id).log for root in roots) if log.is_file()]


def _in(folder: Path) -> list[Path]:
    return sorted({path for name in _NAMES for path in folder.glob(name) if path.is_file()})


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")
