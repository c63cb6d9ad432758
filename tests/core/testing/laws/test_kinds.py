"""The laws of kinds: the picture that they hand out is one."""

from __future__ import annotations

import struct
import zlib

import pytest

from fedtrack.testing.laws.kinds import png


@pytest.mark.parametrize("size", [1, 2, 17])
def test_a_png_is_one_for_whoever_checks_it(size: int) -> None:
    data = png(size)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, chunks = 8, {}
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        content = data[position + 8 : position + 8 + length]
        (crc,) = struct.unpack(">I", data[position + 8 + length : position + 12 + length])
        assert crc == zlib.crc32(kind + content)
        chunks[kind] = content
        position += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (size, size, 8, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == (b"\0" + b"\x80" * size) * size
