"""The check of the peer before the first message: whose process it is, and what it knows."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

import pytest

from fedtrack_local.processes import handshake
from fedtrack_local.processes.handshake import HELLO_BYTES, WELCOME, dial, hello, new_secret, peer_of, site_of


def test_only_the_whole_secret_of_a_site_is_one() -> None:
    table = {"a": new_secret(), "b": new_secret()}
    for site, secret in table.items():
        said = hello(secret)
        assert len(said) == HELLO_BYTES
        assert site_of(said, table) == site
        for wrong in (said[:-1], said + b"x", bytes(HELLO_BYTES), said[:-1] + bytes([said[-1] ^ 1]), b""):
            assert site_of(wrong, table) is None


def test_the_kernel_says_whose_process_the_peer_is() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_of(ours) == os.geteuid()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    monkeypatch.chdir(tmp_path)  # the address is short
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("s")
    listening.listen()
    return listening


def answer(server: socket.socket, with_: bytes, heard: list[bytes]) -> threading.Thread:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            heard.append(connection.recv(1000))
            with contextlib.suppress(BrokenPipeError):  # the other side has gone already
                connection.sendall(with_)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_who_is_welcome_is_connected(server: socket.socket) -> None:
    secret, heard = new_secret(), list[bytes]()
    thread = answer(server, WELCOME, heard)
    with server, dial("s", secret):
        thread.join()
        assert heard == [hello(secret)]


@pytest.mark.parametrize("with_", [b"", b"-"])
def test_who_is_not_welcome_has_no_connection(server: socket.socket, with_: bytes) -> None:
    thread = answer(server, with_, [])
    with server:
        with pytest.raises(ConnectionError, match="does not take this process for one of the site"):
            dial("s", new_secret())
        thread.join()


def test_a_server_that_is_gone_is_said(server: socket.socket) -> None:
    server.close()
    with pytest.raises(ConnectionError, match="nobody answers at s: Connection refused"):
        dial("s", new_secret())
    with pytest.raises(ConnectionError, match="nobody answers at other: No such file or directory"):
        dial("other", new_secret())


def test_a_server_of_another_user_hears_no_secret(server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []
    thread = answer(server, b"", heard)
    monkeypatch.setattr(handshake, "peer_of", lambda connection: os.geteuid() + 1)
    with server:
        with pytest.raises(ConnectionError, match="belongs to another user"):
            dial("s", new_secret())
        thread.join()
    assert heard == [b""]
