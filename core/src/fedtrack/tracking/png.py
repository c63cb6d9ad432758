"""PNG files: still and animated ones, with the standard library only.

An animated one (APNG, an extension of the PNG specification, third edition) is a PNG file for every reader: browsers
play it, and a program that does not know the extension shows the first frame.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: PNG colour type by number of channels: grey, grey and alpha, RGB, RGBA.
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def encode_png(pixels: bytes, shape: tuple[int, int, int]) -> bytes:
    """Return a PNG.

    Args:
        pixels: One byte per sample: row by row, and in each pixel channel by channel.
        shape: Height, width and channels, of which there are 1 to 4.
    """
    content = (_header(shape), _chunk(b"IDAT", _compressed(pixels, shape)), _chunk(b"IEND", b""))
    return SIGNATURE + b"".join(content)


def encode_animation(frames: Sequence[bytes], shape: tuple[int, int, int], fps: float) -> bytes:
    """Return an animated PNG that repeats; see ``encode_png`` for a frame.

    Args:
        frames: The pixels of each frame, at least one.
        shape: Height, width and channels of every frame.
        fps: Frames per second, above 0.
    """
    height, width, _ = shape
    delay = max(1, min(65_535, round(1000 / fps)))  # milliseconds
    chunks = [_header(shape), _chunk(b"acTL", struct.pack(">II", len(frames), 0))]
    number = 0
    for index, frame in enumerate(frames):
        control = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, delay, 1000, 0, 0)
        chunks.append(_chunk(b"fcTL", control))
        number += 1
        data = _compressed(frame, shape)
        if index == 0:
            chunks.append(_chunk(b"IDAT", data))
        else:
            chunks.append(_chunk(b"fdAT", struct.pack(">I", number) + data))
            number += 1
    return SIGNATURE + b"".join([*chunks, _chunk(b"IEND", b"")])


def _header(shape: tuple[int, int, int]) -> bytes:
    height, width, channels = shape
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0))


def _compressed(pixels: bytes, shape: tuple[int, int, int]) -> bytes:
    size = shape[1] * shape[2]
    rows = (pixels[start : start + size] for start in range(0, len(pixels), size))
    return zlib.compress(b"".join(b"\0" + row for row in rows))  # 0: the row is not filtered


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
