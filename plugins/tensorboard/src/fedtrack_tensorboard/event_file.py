"""Event files: frames of length, checksum of the length, payload and checksum of the payload.

TensorBoard's own EventFileWriter hands each event to a thread and computes CRC-32C in Python, which costs 128 µs
per scalar. Here a whole batch is framed and written with one write, which is finished when the call returns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

import google_crc32c

_HEADER = Struct("<QI")
_CHECKSUM = Struct("<I")
_MASK_DELTA = 0xA282EAD8
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def frame(payload: bytes) -> bytes:
    """Return the frame of ``payload`` in an event file."""
    length = len(payload).to_bytes(8, "little")
    return b"".join((length, _masked_crc(length), payload, _masked_crc(payload)))


def read_payloads(path: Path) -> Iterator[bytes]:
    """Yield the payloads of a file, up to its end or to the first torn or damaged frame."""
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            if header[8:] != _masked_crc(header[:8]):
                return
            length = _HEADER.unpack(header)[0]
            payload = file.read(length)
            if len(payload) < length or file.read(_CHECKSUM.size) != _masked_crc(payload):
                return
            yield payload


def append(path: Path, data: bytes | bytearray, *, create: bool) -> None:
    """Append ``data``; it is in the page cache, safe from SIGKILL, when the call returns.

    Args:
        path: The event file.
        data: Whole frames.
        create: Whether the file must not exist yet; otherwise it must exist.

    Raises:
        OSError: The file has none of the data, or only a part of it.
    """
    descriptor = os.open(path, _FLAGS | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        if os.fstat(descriptor).st_size == 0:
            path.unlink()  # a full disk would otherwise leave one empty file per attempt
        raise
    finally:
        os.close(descriptor)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)
