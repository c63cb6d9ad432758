"""The socket of the sites: who shows a secret is in, whoever else connects is out and disturbs nobody."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from fedtrack_local.processes import listener as module
from fedtrack_local.processes.handshake import WELCOME, hello
from fedtrack_local.processes.listener import Listener


class Server:
    """A listener and the loop that it belongs to."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = Listener(self.selector)
        self.admitted: list[tuple[str, socket.socket]] = []

    def step(self, seconds: float = 0.2) -> None:
        for key, _ in self.selector.select(seconds):
            assert key.data is self.listener
            if found := self.listener.ready(key):
                self.admitted.append(found)

    def until_idle(self) -> None:
        deadline = monotonic() + 10
        while self.selector.select(0.05):
            assert monotonic() < deadline
            self.step()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    for _, connection in made.admitted:
        connection.close()
    made.listener.close()
    made.selector.close()


def connect(server: Server) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(server.listener.address)
    return connection


@pytest.mark.threat("T1")
def test_who_shows_a_secret_is_that_site_and_no_byte_after_it_is_read(server: Server) -> None:
    secrets = {site: server.listener.secret_of(site) for site in ("a", "b")}
    assert len(set(secrets.values())) == 2
    assert server.listener.secret_of("a") == secrets["a"]
    with connect(server) as one:
        for part in (hello(secrets["b"])[:7], hello(secrets["b"])[7:] + b"message"):
            one.sendall(part)
            server.until_idle()
        assert one.recv(10) == WELCOME
        ((site, connection),) = server.admitted
        assert (site, connection.recv(100)) == ("b", b"message")


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100, hello("ab" * 32)], ids=["nothing", "HTTP", "another secret"]
)
def test_who_does_not_is_out_and_the_next_one_is_in(
    server: Server, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    secret = server.listener.secret_of("a")
    with caplog.at_level(logging.WARNING), connect(server) as wrong:
        wrong.sendall(said)
        if not said:
            wrong.shutdown(socket.SHUT_WR)
        server.until_idle()
        with contextlib.suppress(ConnectionResetError):  # it had said more than was read
            assert wrong.recv(10) == b""
    assert ("a process that did not show the secret of a site" in caplog.text) == bool(said)
    with connect(server) as right:
        right.sendall(hello(secret))
        server.until_idle()
        assert right.recv(10) == WELCOME


def test_who_says_nothing_is_forgotten_and_many_of_them_keep_nobody_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = server.listener.secret_of("a")
    silent = []
    for _ in range(module._MOST_STRANGERS + 10):
        silent.append(connect(server))
        server.step()
    assert len(server.listener._strangers) == module._MOST_STRANGERS
    with connect(server) as right:
        right.sendall(hello(secret))
        server.until_idle()
        assert right.recv(10) == WELCOME
    monkeypatch.setattr(module, "_HELLO_SECONDS", 0.0)
    server.listener.forget_strangers()
    assert server.listener._strangers == {}
    for connection in silent:
        connection.close()


OTHER_USER = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(sys.argv[1])
    connection.sendall(bytes.fromhex(sys.argv[2]))
    print(connection.recv(10))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("can_reach", [False, True], ids=["private folder", "folder that was opened"])
@pytest.mark.threat("T1", "T10")
def test_another_user_of_the_machine_is_out_even_with_the_secret(
    server: Server, can_reach: bool, caplog: pytest.LogCaptureFixture
) -> None:
    said = hello(server.listener.secret_of("a"))
    if can_reach:  # so that nothing but the kernel's word on the peer keeps it out
        address = Path(server.listener.address)
        for path, mode in ((address.parent, 0o755), (address, 0o777)):
            path.chmod(mode)
    command = [sys.executable, "-c", OTHER_USER, server.listener.address, said.hex()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with caplog.at_level(logging.WARNING):
        while process.poll() is None:
            server.step(0.05)
    output, _ = process.communicate()
    assert server.admitted == []
    if can_reach:
        assert output.strip() in ("b''", "ConnectionResetError", "BrokenPipeError")
        assert "the sites' socket refused a process of the user 65534" in caplog.text
    else:
        assert output.strip() == "PermissionError"


def test_the_socket_and_its_folder_are_private_and_gone_afterwards() -> None:
    server = Server()
    address = Path(server.listener.address)
    assert (address.stat().st_mode & 0o777, address.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    server.listener.close()
    server.selector.close()
    assert not address.parent.exists()
