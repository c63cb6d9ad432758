"""SiteLink: the connections of a site's processes to the server, and which of the processes has the tasks."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from time import monotonic

import msgspec

from fedtrack_local.processes.joining import CommandEnded, Join, Joined, Next, Taken
from fedtrack_local.processes.messages import EndRun, FromSite, SendResult, SendTask, SkipTask, encode
from fedtrack_local.processes.parcels import ParcelConnection

log = logging.getLogger(__name__)

#: The most tasks that are kept for ranks that are slower than rank 0.
_MOST_KEPT = 16


class SiteLink:
    """A site's connections. One process at a time, the leader, is given the tasks and answers them.

    Processes of higher ranks ask for tasks. They get each task that the leader got, in order, also if it has been
    answered meanwhile.

    Args:
        site: The site.
        first: The connection of the process that the fork server starts.
        direct: Whether that process has the tasks from the beginning, without ``Join``.
    """

    def __init__(self, site: str, first: ParcelConnection, *, direct: bool) -> None:
        self.command_ended = False
        self.had_leader = direct
        self.site = site
        self._first = first
        self._connections = [first]
        self._leader: ParcelConnection | None = first if direct else None
        self._leader_pid = 0
        self._alone_since = monotonic()
        self._open: SendTask | None = None
        self._kept: list[SendTask] = []
        self._files: dict[int, int] = {}
        self._world = 1
        self._ended = False
        #: By connection of a higher rank, the number of its last task, and whether it waits for another one.
        self._followers: dict[ParcelConnection, tuple[int, bool]] = {}

    def __iter__(self) -> Iterator[ParcelConnection]:
        return iter(list(self._connections))

    @property
    def has_leader(self) -> bool:
        """Whether a process is connected that has the tasks."""
        return self._leader is not None

    @property
    def is_kept_by_another(self) -> bool:
        """Whether the tasks are with another process than the one that the fork server started."""
        return self._leader is not None and self._leader is not self._first

    @property
    def seconds_alone(self) -> float:
        """How long no process has been connected that has the tasks."""
        return 0.0 if self._leader is not None else monotonic() - self._alone_since

    def add(self, connection: ParcelConnection) -> None:
        """Add the connection of another process."""
        self._connections.append(connection)

    def remove(self, connection: ParcelConnection) -> None:
        """Close a connection."""
        self._connections.remove(connection)
        self._followers.pop(connection, None)
        if connection is self._leader:
            self._leader, self._alone_since = None, monotonic()
        connection.close()

    def send(self, message: msgspec.Struct, file: int | None = None) -> None:
        """Send a message to the leader, also to the one that comes next; the other ranks get it when they ask.

        Args:
            message: The message.
            file: The descriptor of its file, which must stay open as long as ``needs`` says so.
        """
        if isinstance(message, SendTask):
            if file is not None:
                self._files[message.task_id] = file
            self._open = message
            self._kept = [*self._kept, message][-_MOST_KEPT:] if self._has_others() else [message]
            self._forget_passed()
            self._files = {number: file for number, file in self._files.items() if self.needs(number)}
        elif isinstance(message, EndRun):
            self._ended = True
        if self._leader is not None:
            _post(self._leader, message, file)
        self._serve_all()

    def needs(self, task_id: int) -> bool:
        """Return whether a process may still ask for the model of a task."""
        return any(task.task_id == task_id for task in self._kept)

    def take(self, connection: ParcelConnection, message: FromSite) -> FromSite | None:
        """Handle what concerns the connections only, and return every other message."""
        if isinstance(message, Join):
            self._join(connection, message)
        elif isinstance(message, Next):
            self._followers[connection] = (message.after, True)
            self._forget_passed()
            self._serve(connection)
        elif isinstance(message, CommandEnded):
            self.command_ended = True
        elif isinstance(message, SendResult | SkipTask) and connection is not self._leader:
            log.warning("%s: a process that has no task sent an answer; it is ignored", self.site)
        else:
            if isinstance(message, SendResult | SkipTask) and self._open and message.task_id == self._open.task_id:
                self._open = None
            return message
        return None

    def _join(self, connection: ParcelConnection, message: Join) -> None:
        self._world = max(self._world, message.world)
        if message.rank > 0:
            self._followers[connection] = (-1, False)
            _post(connection, Joined())
            return
        if self._leader not in (None, connection) and not _has_ended(self._leader):
            _post(connection, Taken(self._leader_pid))
            return
        self._leader, self._leader_pid, self.had_leader = connection, message.pid, True
        # The ranks of a leader before this one have ended with it.
        self._kept = [self._open] if self._open is not None else []
        _post(connection, Joined())
        if self._ended:
            _post(connection, EndRun())
        elif self._open is not None:
            self._post_task(connection, self._open)
        self._serve_all()

    def _has_others(self) -> bool:
        return self._world > 1 or bool(self._followers)

    def _forget_passed(self) -> None:
        """Forget the tasks that every rank has done, so that their models can be deleted."""
        if len(self._followers) >= self._world - 1 and self._kept:
            passed = min((after for after, _ in self._followers.values()), default=0)
            last = self._kept[-1]
            self._kept = [task for task in self._kept if task.task_id > passed or task is last]

    def _serve_all(self) -> None:
        for connection in list(self._followers):
            self._serve(connection)

    def _serve(self, connection: ParcelConnection) -> None:
        """Give a higher rank its next task, if it waits for one and there is one."""
        after, waits = self._followers[connection]
        # Without a leader the tasks may be those of one that died; the next one will get the last of them again.
        if not waits or (self._leader is None and not self._ended):
            return
        task = next((task for task in self._kept if task.task_id > after), None)
        if task is None and not self._ended:
            return
        self._followers[connection] = (after, False)
        if task is None:
            _post(connection, EndRun())
        else:
            self._post_task(connection, task)

    def _post_task(self, connection: ParcelConnection, task: SendTask) -> None:
        _post(connection, task, self._files.get(task.task_id))


def _post(connection: ParcelConnection | None, message: msgspec.Struct, file: int | None = None) -> None:
    if connection is not None:
        try:
            connection.send_bytes(encode(message), file)
        except OSError:  # it has ended, or does not read what it has asked for: the next read reports its end
            connection.hang_up()


def _has_ended(connection: ParcelConnection | None) -> bool:
    """Return whether the process of a connection has closed it, which may not have been read yet."""
    if connection is None:
        return True
    with contextlib.closing(socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)) as copy:
        try:
            return not copy.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
