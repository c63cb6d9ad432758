"""Content-addressed files for values too large to travel inside a frame."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from fedtrack.errors import DamagedError
from fedtrack.files import NotPlainError, open_plain, sync, written_beside
from fedtrack.tracking.records import BlobRef

#: Values up to this many bytes stay inside the record.
INLINE_LIMIT = 32 * 1024

_PIECE = 1024 * 1024

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class BlobStore:
    """A folder of files named by the SHA-256 of their content.

    Args:
        folder: Created (0700) on the first write.
        durable: Whether ``put`` waits until its file survives a loss of power; ``adopt`` always does.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._durable = durable
        self._safe: set[str] = set()

    def put(self, data: bytes) -> BlobRef:
        """Store ``data`` and return its reference; storing the same content twice keeps one file.

        Raises:
            OSError: The disk is full or the folder cannot be written; nothing is left behind.
        """
        ref = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
        target = self.folder / ref.sha256
        if not target.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A reader must never see half a file, and two processes may write the same content at once.
            with written_beside(target) as temporary, open(temporary, "xb", opener=_private) as file:
                file.write(data)
        if self._durable:
            self.secure(ref)
        return ref

    def secure(self, ref: BlobRef) -> None:
        """Make a file that is here survive the loss of power, with its name.

        Raises:
            OSError: The disk does not confirm it.
        """
        if ref.sha256 in self._safe:
            return
        if not self._safe:
            sync(self.folder.parent)
        sync(self.folder / ref.sha256)
        sync(self.folder)
        self._safe.add(ref.sha256)

    def path(self, ref: BlobRef) -> Path:
        """Return the path of the content.

        Raises:
            DamagedError: The digest is not valid, or the file is missing, not a regular file or of another size.
        """
        path = self._named(ref)
        try:
            found = path.lstat()
        except FileNotFoundError:
            raise DamagedError(f"Blob {ref.sha256} is missing from {self.folder}.") from None
        if not stat.S_ISREG(found.st_mode):  # a link could lead to any file of the server
            raise DamagedError(f"Blob {ref.sha256} in {self.folder} is no plain file.")
        if found.st_size != ref.size:
            raise DamagedError(f"Blob {ref.sha256} has {found.st_size} bytes, expected {ref.size}.")
        return path

    def holds(self, ref: BlobRef) -> bool:
        """Return whether there is a file of this digest, whoever has sent it."""
        return self._named(ref).exists() if _DIGEST.match(ref.sha256) else False

    def read(self, data: bytes | BlobRef) -> bytes:
        """Return the content of ``data``, which is in the record itself or in this store.

        Raises:
            DamagedError: The content is missing, or does not match its digest.
        """
        if not isinstance(data, BlobRef):
            return data
        content = self.path(data).read_bytes()
        if hashlib.sha256(content).hexdigest() != data.sha256:
            raise DamagedError(f"Blob {data.sha256} was changed after it was written.")
        return content

    def read_text(self, text: str | BlobRef) -> str:
        """Return the content of ``text``, which is in the record itself or in this store.

        Raises:
            DamagedError: The content is missing, was changed, or is not UTF-8.
        """
        if isinstance(text, str):
            return text
        try:
            return self.read(text).decode()
        except UnicodeDecodeError as error:
            raise DamagedError(f"Blob {text.sha256} is no UTF-8 text: {error}.") from None

    def adopt(self, ref: BlobRef, source: BlobStore) -> None:
        """Copy the content of ``ref`` from the store of another process, which may change its files at any time.

        The content is compared with its digest while it is copied, also if it is here already: who does not have it
        must not use what another one has sent. When this returns, it survives the loss of power, as the record that
        names it soon will.

        Raises:
            DamagedError: The content is missing from ``source``, or does not match its digest.
            OSError: The disk is full or the folder cannot be written.
        """
        target = self._named(ref)
        try:
            origin = open_plain(source.folder / ref.sha256)
        except FileNotFoundError:
            raise DamagedError(f"Blob {ref.sha256} is missing from {source.folder}.") from None
        except NotPlainError as error:
            raise DamagedError(f"Blob {ref.sha256} in {source.folder} {error.strerror}.") from None
        with origin:
            if target.exists():
                _copy(origin, None, ref)
            else:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with written_beside(target) as temporary, open(temporary, "xb", opener=_private) as file:
                    _copy(origin, file, ref)
        self.secure(ref)

    def _named(self, ref: BlobRef) -> Path:
        if not _DIGEST.match(ref.sha256):
            raise DamagedError(f"{ref.sha256[:80]!r} is no SHA-256 digest; a blob is named by 64 hex digits.")
        return self.folder / ref.sha256


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _copy(origin: BinaryIO, target: BinaryIO | None, ref: BlobRef) -> None:
    """Copy the content of ``ref``; without a target it is only compared with its digest."""
    size = os.fstat(origin.fileno()).st_size
    if size != ref.size:
        raise DamagedError(f"Blob {ref.sha256} has {size} bytes, expected {ref.size}.")
    digest, left = hashlib.sha256(), ref.size
    while left and (piece := origin.read(min(left, _PIECE))):
        digest.update(piece)
        left -= len(piece)
        if target is not None:
            target.write(piece)
    if left or digest.hexdigest() != ref.sha256:
        raise DamagedError(f"Blob {ref.sha256} has another content than its digest says.")
