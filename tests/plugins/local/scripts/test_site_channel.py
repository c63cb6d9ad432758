"""A process's connection to the server: it uses no descriptor but its own, and a child makes one of its own."""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep

import msgspec
import pytest

from fedtrack.errors import ConfigError
from fedtrack_local.processes.joining import Join, Joined, Taken
from fedtrack_local.processes.listener import Listener
from fedtrack_local.processes.messages import SkipTask, decode_from_site, encode
from fedtrack_local.scripts.site_channel import SiteChannel
from support.site_processes import site_spec


class Server:
    """A server of one site that answers each Join with the next prepared answer and keeps all messages."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = Listener(self.selector)
        self.secret = self.listener.secret_of("site-1")
        self.answers: list[msgspec.Struct] = []
        self.heard: list[object] = []
        self._ended = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def wait_for(self, message: object) -> None:
        deadline = monotonic() + 10
        while message not in self.heard:
            assert monotonic() < deadline
            sleep(0.01)

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        for key in list(self.selector.get_map().values()):
            if isinstance(key.fileobj, Connection):
                key.fileobj.close()
        self.listener.close()
        self.selector.close()

    def _serve(self) -> None:
        while not self._ended:
            for key, _ in self.selector.select(0.02):
                if isinstance(key.fileobj, Connection):
                    self._hear(key.fileobj)
                elif found := self.listener.ready(key):
                    self.selector.register(Connection(found[1].detach()), selectors.EVENT_READ, None)

    def _hear(self, connection: Connection) -> None:
        try:
            message = decode_from_site.decode(connection.recv_bytes())
        except EOFError:
            self.selector.unregister(connection)
            connection.close()
            return
        self.heard.append(message)
        if isinstance(message, Join):
            connection.send_bytes(encode(self.answers.pop(0) if self.answers else Joined()))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def channel(server: Server, tmp_path: Path) -> Iterator[SiteChannel]:
    spec = site_spec(tmp_path, "", name="site-1", address=server.listener.address, secret=server.secret)
    made = SiteChannel(spec)
    yield made
    made.close()


def test_it_connects_when_it_is_needed_and_only_once(server: Server, channel: SiteChannel) -> None:
    assert not channel.is_open
    assert channel.join(0)
    assert channel.is_joined
    assert not channel.join(0)
    assert server.heard == [Join(os.getpid(), 0, 1)]


def test_who_comes_second_is_told_who_was_first_and_what_to_do(server: Server, channel: SiteChannel) -> None:
    server.answers.append(Taken(4711))
    with pytest.raises(
        ConfigError, match=r"site-1: the process 4711 gets the tasks .*can only log; .*init\(rank=...\)"
    ):
        channel.join(0)
    assert not channel.is_open
    assert channel.join(1)  # as another rank it may


def test_a_descriptor_that_the_script_has_given_to_a_file_is_not_written_to_and_stays_open(
    server: Server, channel: SiteChannel, tmp_path: Path
) -> None:
    channel.join(0)
    number = channel.fileno()
    with (tmp_path / "results").open("w+b") as results:
        os.dup2(results.fileno(), number)  # as a file gets it that is opened after os.closerange()
        with pytest.raises(ConnectionError):
            channel.post(SkipTask(1))
        with pytest.raises(ConnectionError):
            channel.recv_bytes()
        assert os.write(number, b"mine") == 4  # it is still open
        os.close(number)
        assert (tmp_path / "results").read_bytes() == b"mine"
    assert channel.join(0)  # and what was closed is made again
    channel.post(SkipTask(2))
    server.wait_for(SkipTask(2))


def test_a_forked_child_has_no_part_in_its_parents_connection(server: Server, channel: SiteChannel) -> None:
    channel.join(0)
    pid = os.fork()
    if pid == 0:
        os._exit(int(channel.is_open or channel.is_joined))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    channel.post(SkipTask(1))
    assert channel.is_joined


def test_a_server_that_is_gone_is_a_connection_error(tmp_path: Path) -> None:
    spec = site_spec(tmp_path, "", address=str(tmp_path / "s"), secret="ab" * 32)
    with pytest.raises(ConnectionError, match="nobody answers"):
        SiteChannel(spec).join(0)
