"""Parcels: a message and its file come together, in whatever pieces the kernel hands them over."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack_local.processes.parcels import LENGTH, Incoming, Parcel, ParcelConnection

MOST = 1_000_000


def open_files() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208


@pytest.fixture
def ends() -> Iterator[tuple[ParcelConnection, ParcelConnection]]:
    one, other = ParcelConnection.pair()
    yield one, other
    one.close()
    other.close()


def file_with(folder: Path, text: str) -> int:
    (folder / "file").write_text(text)
    return os.open(folder / "file", os.O_RDONLY)


def test_each_message_has_its_own_file_or_none(ends: tuple[ParcelConnection, ParcelConnection], tmp_path: Path) -> None:
    one, other = ends
    file = file_with(tmp_path, "model")
    for data, attached in ((b"first", None), (b"second", file), (b"", None), (b"x" * 100_000, file), (b"last", None)):
        one.send_bytes(data, attached)
        parcel = other.take(MOST)
        assert parcel is not None
        assert parcel.data == data
        assert (parcel.file is None) == (attached is None)
        if parcel.file is not None:
            assert os.pread(parcel.file, 10, 0) == b"model"
            assert not os.get_inheritable(parcel.file)
        parcel.drop()
    os.close(file)


def test_messages_that_wait_together_keep_their_files(
    ends: tuple[ParcelConnection, ParcelConnection], tmp_path: Path
) -> None:
    one, other = ends
    file = file_with(tmp_path, "model")
    for number in range(6):
        one.send_bytes(bytes([number]) * 3, file if number % 3 == 1 else None)
    os.close(file)
    parcels = [other.take(MOST, wait=False) for _ in range(6)]
    assert [parcel and (parcel.data, parcel.file is not None) for parcel in parcels] == [
        (bytes([number]) * 3, number % 3 == 1) for number in range(6)
    ]
    assert other.take(MOST, wait=False) is None
    for parcel in parcels:
        assert parcel is not None
        parcel.drop()


def test_a_message_in_pieces_is_waited_for_by_nobody() -> None:
    one, other = socket.socketpair()
    with one, other:
        incoming, whole = Incoming(), LENGTH.pack(5) + b"hello"
        for end in range(len(whole)):
            one.sendall(whole[end : end + 1])
            found = incoming.take(other, MOST, wait=False)
            assert found == (Parcel(b"hello") if end + 1 == len(whole) else None)
            assert (incoming.since is None) == (end + 1 == len(whole))


@pytest.mark.parametrize("length", [-1, -(2**31), MOST + 1, 2**31 - 1])
def test_a_length_that_no_message_has_is_refused(ends: tuple[ParcelConnection, ParcelConnection], length: int) -> None:
    one, other = ends
    os.write(one.fileno(), struct.pack("!i", length))
    with pytest.raises(OSError, match="was announced"):
        other.take(MOST)


def test_files_that_nobody_asked_for_are_closed(tmp_path: Path) -> None:
    before = open_files()
    one, other = socket.socketpair()
    file = file_with(tmp_path, "x")
    socket.send_fds(one, [LENGTH.pack(2)], [file] * 9)
    socket.send_fds(one, [b"ab"], [file] * 3)
    socket.send_fds(one, [LENGTH.pack(9) + b"part"], [file])
    connection = ParcelConnection(other)
    parcel = connection.take(MOST)
    assert parcel is not None
    assert parcel.data == b"ab"
    assert connection.take(MOST, wait=False) is None
    parcel.drop()
    connection.close()
    one.close()
    os.close(file)
    assert open_files() == before


def test_the_end_of_a_connection_is_said(ends: tuple[ParcelConnection, ParcelConnection]) -> None:
    one, other = ends
    assert not other.poll()
    one.hang_up()
    assert other.poll()
    with pytest.raises(EOFError):
        other.take(MOST)
    other.close()
    assert (one.closed, other.closed) == (False, True)
