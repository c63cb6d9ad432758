"""Handed models: a model is given to another process as an open file that nobody can change any more.

On Linux this is a file in memory whose content is sealed (``F_SEAL_WRITE`` and others, see memfd_create(2)): neither
its maker nor a receiver can write to it, or cut it while others have mapped it. A model that is too large for that, and
every model on a system without such files, is a file on the disk. Its receiver makes a copy of its own.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from fedtrack.errors import ModelError
from fedtrack.files import unwritable
from fedtrack_local.models.params import load_metadata, load_params, save_params, write_params

#: The most tensors, and bytes of a header, that a model of another process may have.
MAX_TENSORS = 131_072
MAX_HEADER = 16 * 1024 * 1024

_PIECE = 64 * 1024 * 1024
#: A file system that packs its files is believed up to this ratio.
_MOST_PACKED = 64
#: Names on which the kernel opens a descriptor again, with an offset of its own.
_OPEN_FILES = Path("/proc/self/fd")


def hand(params: Mapping[str, Any], spare: Path, memory: int, metadata: Mapping[str, str] | None = None) -> int:
    """Return the descriptor of a file with ``params`` that can be given to another process.

    Args:
        params: numpy arrays or torch tensors by name.
        spare: Where the file is written if it is too large for the memory; it keeps no name.
        memory: The most bytes of a file in memory.
        metadata: Texts to keep in the file's header.

    Raises:
        ModelError: A name or a value cannot be kept in a model file.
        WorkspaceError: The file cannot be written.
    """
    found = seal(params, memory, metadata)
    if found is not None:
        return found
    save_params(params, spare, metadata)
    try:
        return os.open(spare, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise unwritable(f"the model {spare}", error) from None
    finally:
        spare.unlink(missing_ok=True)


def seal(params: Mapping[str, Any], memory: int, metadata: Mapping[str, str] | None = None) -> int | None:
    """Return the descriptor of a file in memory with ``params``, which nobody can change any more.

    None if it would have more bytes than ``memory``, or the system has no such files.

    Raises:
        ModelError: A name or a value cannot be kept in a model file.
    """
    if not hasattr(os, "memfd_create") or not _OPEN_FILES.is_dir():
        return None
    if sum(int(value.nbytes) for value in params.values() if hasattr(value, "nbytes")) > memory:
        return None
    try:
        return _sealed(params, metadata)
    except OSError:  # there is not so much memory after all
        return None


def take(
    file: int | None, folder: Path, memory: int, *, most: int | None = None, name: str = "the model"
) -> tuple[dict[str, Any], dict[str, str], int]:
    """Map the model that another process has handed over; whatever that process does, it stays as it is.

    Args:
        file: The descriptor; it stays open.
        folder: The folder for a copy, which keeps no name.
        memory: The most bytes of a file that is left in memory.
        most: The most bytes of a file; None if there is no limit.
        name: The model, for error messages.

    Returns:
        The tensors as read-only arrays, the texts of the header, and the size of the file in bytes.

    Raises:
        ModelError: There is no file, it is no plain file, too large or damaged, or it changes meanwhile.
        NoRoomError: The disk has no room for the copy of a file whose size is right.
    """
    if file is None:
        raise ModelError(f"{name} did not come with the message")
    try:
        size = _checked_size(file, folder, most)
        with _own(file, size, folder, memory) as path:
            params = load_params(path, max_tensors=MAX_TENSORS, max_header=MAX_HEADER, name=name)
            return params, load_metadata(path), size
    except OSError as error:
        if most is not None and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise unwritable(f"a copy of {name} in {folder}", error) from None
        raise ModelError(f"{name} cannot be read: {error.strerror or error}") from None


def path_of(file: int) -> Path:
    """Return a path at which this process can open a descriptor's file again, as long as the descriptor is open."""
    return _OPEN_FILES / str(file) if sys.platform == "linux" else Path("/dev/fd") / str(file)


def is_sealed(file: int) -> bool:
    """Return whether nobody can change the file of a descriptor any more."""
    try:
        return fcntl.fcntl(file, fcntl.F_GET_SEALS) & _seals() == _seals()
    except (AttributeError, OSError):  # no such system, or a file on a disk
        return False


def _seals() -> int:
    return fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def _sealed(params: Mapping[str, Any], metadata: Mapping[str, str] | None) -> int:
    file = os.memfd_create("fedtrack-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(file, 0o600)
        write_params(params, file, metadata)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _seals())
    except BaseException:
        os.close(file)
        raise
    return file


def _checked_size(file: int, folder: Path, most: int | None) -> int:
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):
        raise ModelError(f"what was handed over is no plain file (mode {stat.filemode(found.st_mode)})")
    if most is not None and found.st_size > most:
        raise ModelError(f"the file has {found.st_size:,} bytes, and this task's model may have {most:,}")
    if is_sealed(file):
        if found.st_blocks * 512 < found.st_size:  # reading it would take memory that its maker never had
            raise ModelError(f"of the file's {found.st_size:,} bytes, only {found.st_blocks * 512:,} were written")
    elif found.st_blocks * 512 * _MOST_PACKED < found.st_size:
        raise ModelError(f"of the file's {found.st_size:,} bytes, only {found.st_blocks * 512:,} were written")
    elif found.st_dev != folder.stat().st_dev or found.st_uid != folder.stat().st_uid:
        # A file system of its maker's own could make the reader wait for ever.
        raise ModelError(f"the file is neither sealed nor on the disk of {folder}")
    return found.st_size


@contextlib.contextmanager
def _own(file: int, size: int, folder: Path, memory: int) -> Iterator[Path]:
    """Yield a path of the same content that no other process can change; what was mapped from it stays valid."""
    if is_sealed(file) and size <= memory:
        yield path_of(file)
        return
    path = folder / f".{uuid4().hex}"
    copy = _nameless(folder)
    named = copy is None
    if copy is None:
        copy = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _copy(file, copy, size)
        yield path if named else path_of(copy)
    finally:
        os.close(copy)
        if named:
            path.unlink(missing_ok=True)


def _nameless(folder: Path) -> int | None:
    """Return a new file without a name; None if the system or the file system has none."""
    if not hasattr(os, "O_TMPFILE") or not _OPEN_FILES.is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def _copy(source: int, target: int, size: int) -> None:
    copied = 0
    while copied < size:
        piece = _piece(source, target, copied, min(_PIECE, size - copied))
        if not piece:
            raise ModelError(f"the file was cut to {copied:,} of its {size:,} bytes while it was read")
        copied += piece


def _piece(source: int, target: int, offset: int, count: int) -> int:
    """Copy a piece and return its size. The kernel does it, and shares the blocks if the file system can."""
    if hasattr(os, "copy_file_range"):
        with contextlib.suppress(OSError):  # from memory to a disk, for example
            return os.copy_file_range(source, target, count, offset, offset)
    return os.pwrite(target, os.pread(source, min(count, 2**20), offset), offset)
