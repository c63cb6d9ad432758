"""A model that was handed over stays as it is, whatever its maker does; and what is no model is refused."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import ModelError
from fedtrack.files import NoRoomError
from fedtrack_local.models import handed_model
from fedtrack_local.models.arrays import DTYPES
from fedtrack_local.models.handed_model import hand, is_sealed, path_of, seal, take
from fedtrack_local.models.params import load_metadata, load_params, save_params

pytestmark = pytest.mark.threat("T6")

PARAMS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True]), "s": np.float64(2.5)}
MEMORY = 2**20


@pytest.fixture
def files() -> Iterator[list[int]]:
    opened: list[int] = []
    yield opened
    for file in opened:
        os.close(file)


def assert_same(found: dict[str, np.ndarray]) -> None:
    assert list(found) == list(PARAMS)
    for name, value in PARAMS.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


@pytest.mark.parametrize("memory", [0, MEMORY])
@pytest.mark.parametrize("kept", [0, MEMORY])
def test_a_model_crosses_by_every_way_and_leaves_no_file(
    tmp_path: Path, files: list[int], memory: int, kept: int
) -> None:
    files.append(hand(PARAMS, tmp_path / "spare", memory, {"k": "v"}))
    assert is_sealed(files[0]) == bool(memory)
    for _ in range(2):  # the descriptor has no position that reading it would move
        params, metadata, size = take(files[0], tmp_path, kept)
        assert_same(params)
        assert (metadata, size) == ({"k": "v"}, os.fstat(files[0]).st_size)
        assert not params["w"].flags.writeable
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", DTYPES)
def test_the_library_reads_what_is_written_without_it(code: str, tmp_path: Path, files: list[int]) -> None:
    params = {
        "flag": np.array([True, False]),
        "x": np.arange(4).astype(DTYPES[code]).reshape(2, 2),
        "none": np.zeros((0, 3), DTYPES[code]),
        "one": np.array(1).astype(DTYPES[code]),
    }
    files.append(hand(params, tmp_path / "spare", MEMORY))
    save_params(params, tmp_path / "by the library")
    for path in (path_of(files[0]), tmp_path / "by the library"):
        found = load_params(path)
        assert [(n, a.dtype, a.shape, a.tobytes()) for n, a in found.items()] == [
            (n, a.dtype, a.shape, a.tobytes()) for n, a in params.items()
        ]
        assert load_metadata(path) == {}


def test_many_tensors_are_written_whole(tmp_path: Path, files: list[int]) -> None:
    params = {f"t{number}": np.full(3, number, np.float32) for number in range(2_000)}
    files.append(hand(params, tmp_path / "spare", MEMORY))
    found = take(files[0], tmp_path, MEMORY)[0]
    assert all(found[name][0] == number for number, name in enumerate(params))


def test_nobody_can_change_what_is_sealed(files: list[int], tmp_path: Path) -> None:
    file = seal(PARAMS, MEMORY)
    assert file is not None
    files += [file, os.open(path_of(file), os.O_RDWR)]
    for own in files:
        for change in (
            lambda own: os.write(own, b"x"),
            lambda own: os.pwrite(own, b"x", 100),
            lambda own: os.ftruncate(own, 8),
            lambda own: os.ftruncate(own, 2**20),
            lambda own: mmap.mmap(own, 0),
            lambda own: fcntl.fcntl(own, fcntl.F_ADD_SEALS, 0),
        ):
            with pytest.raises(OSError):  # noqa: PT011 - the system has several
                change(own)
    assert_same(take(file, tmp_path, MEMORY)[0])


@pytest.mark.parametrize("memory", [0, MEMORY])
def test_what_the_maker_does_later_changes_nothing(tmp_path: Path, files: list[int], memory: int) -> None:
    path = tmp_path / "of the site"
    save_params(PARAMS, path)
    files.append(os.open(path, os.O_RDWR))
    found = take(files[0], tmp_path, memory)[0]
    os.pwrite(files[0], b"\xff" * 200, 0)
    os.ftruncate(files[0], 0)  # a mapping of this file would end the process with SIGBUS
    assert_same(found)


def _fifo(folder: Path) -> int:
    os.mkfifo(folder / "x")
    return os.open(folder / "x", os.O_RDWR | os.O_NONBLOCK)


def _sparse(folder: Path) -> int:
    file = os.open(folder / "x", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, 4 * 2**30)
    return file


def _memory(content: bytes, size: int = 0, seals: bool = True) -> int:
    file = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(file, content)
    if size:
        os.ftruncate(file, size)
    if seals:
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, handed_model._seals())
    return file


def _sparse_model(_: Path) -> int:
    text = b'{"w":{"dtype":"U8","shape":[1000000],"data_offsets":[0,1000000]}}'
    head = struct.pack("<Q", len(text)) + text
    return _memory(head, len(head) + 1_000_000)


def _many(_: Path) -> int:
    text = b",".join(b'"t%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % n for n in range(400_000))
    return _memory(struct.pack("<Q", len(text) + 2) + b"{" + text + b"}")


def _some(_: Path) -> int:
    text = b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % n for n in range(30))
    return _memory(struct.pack("<Q", len(text) + 2) + b"{" + text + b"}")


NAMES = ["pipe", "device", "folder", "socket", "sparse", "sparse memory", "holes", "400,000", "30", "proc", "unsealed"]
NAMES += ["empty", "garbage", "header"]


def _socket(_: Path) -> int:
    return socket.socket(socket.AF_UNIX).detach()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_fifo, "no plain file"),
        (lambda folder: os.open("/dev/zero", os.O_RDONLY), "no plain file"),
        (lambda folder: os.open(folder, os.O_RDONLY), "no plain file"),
        (_socket, "no plain file"),
        (_sparse, "may have 2,000,000"),
        (lambda folder: _memory(b"", 4 * 2**30), "may have 2,000,000"),
        (_sparse_model, "only .* were written"),
        (_many, "may have|header of"),
        (_some, "30 tensors, more than the 20"),
        (lambda folder: os.open("/proc/version", os.O_RDONLY), "neither sealed nor on the disk"),
        (lambda folder: _memory(b"x" * 100, seals=False), "neither sealed nor on the disk"),
        (lambda folder: _memory(b""), "no usable model"),
        (lambda folder: _memory(b"\xff" * 1000), "no usable model|header of"),
        (lambda folder: _memory(struct.pack("<Q", 2**60)), "no usable model|header of"),
    ],
    ids=NAMES,
)
def test_what_is_no_model_is_refused_at_once_and_leaves_nothing(
    tmp_path: Path,
    files: list[int],
    make: Callable[[Path], int],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handed_model, "MAX_TENSORS", 20)
    (tmp_path / "own").mkdir()
    files.append(make(tmp_path))
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208
    with pytest.raises(ModelError, match=said):
        take(files[0], tmp_path / "own", MEMORY, most=2_000_000, name="the model that site-1 sent")
    assert list((tmp_path / "own").iterdir()) == []
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


def test_a_header_is_not_read_beyond_its_limit(tmp_path: Path, files: list[int]) -> None:
    files.append(_many(tmp_path))
    with pytest.raises(ModelError, match=r"a header of .* bytes, more than"):
        take(files[0], tmp_path, 2**30)


def test_an_answer_without_its_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did not come with the message"):
        take(None, tmp_path, MEMORY)


def test_a_file_that_is_cut_while_it_is_copied_is_refused(
    tmp_path: Path, files: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_params({"w": np.zeros(1000)}, tmp_path / "x")
    files.append(os.open(tmp_path / "x", os.O_RDWR))
    copy = handed_model._copy

    def late(source: int, target: int, size: int) -> None:
        os.ftruncate(source, 100)
        copy(source, target, size)

    monkeypatch.setattr(handed_model, "_copy", late)
    with pytest.raises(ModelError, match="was cut to 100"):
        take(files[0], tmp_path, MEMORY)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("most", [None, 10**6])
def test_a_full_disk_is_waited_for_if_the_size_is_right(
    tmp_path: Path, files: list[int], monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    files.append(hand(PARAMS, tmp_path / "spare", MEMORY))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(handed_model, "_piece", full)
    with pytest.raises(ModelError if most is None else NoRoomError):
        take(files[0], tmp_path, 0, most=most)


def test_where_there_are_no_files_in_memory_and_none_without_a_name_models_are_copied(
    tmp_path: Path, files: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("memfd_create", "O_TMPFILE", "copy_file_range"):
        monkeypatch.delattr(os, name, raising=False)
    files.append(hand(PARAMS, tmp_path / "spare", MEMORY))
    assert not is_sealed(files[0])
    assert_same(take(files[0], tmp_path, MEMORY)[0])
    assert list(tmp_path.iterdir()) == []
