"""Images: arrays are encoded as PNG with the standard library, and the size of a PNG is read."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: PNG colour type by number of channels: grey, grey and alpha, RGB, RGBA.
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG of ``pixels``, an array of height x width x channels with 1 to 4 channels."""
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)  # 0: the row is not filtered
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(raw)) + _chunk(b"IEND", b"")


def pixels_of(image: Any, dataformats: str) -> NDArray[np.uint8]:
    """Return an array or tensor as height x width x channels.

    Args:
        image: Floats from 0 to 1, bools, or integers from 0 to 255. Values outside are clipped; NaN is black.
        dataformats: The meaning of each axis: ``C``, ``H`` and ``W`` in any order, or ``H`` and ``W``.

    Raises:
        ValueError: ``dataformats`` does not fit the array, or the array has no pixels, or it has more than 4 channels
            or none.
    """
    import numpy as np

    array = as_array(image)
    axes = dataformats.upper()
    if sorted(axes) not in (list("CHW"), list("HW")) or array.ndim != len(axes):
        raise ValueError(
            f"dataformats {dataformats!r} does not describe an image of shape {array.shape}; "
            "valid are 'CHW', 'HWC', 'HW' and other orders of these letters"
        )
    if "C" not in axes:
        array, axes = array[None], "C" + axes
    array = array.transpose([axes.index(axis) for axis in "HWC"])
    if array.shape[2] not in _COLOUR_TYPES or 0 in array.shape:
        raise ValueError(f"an image has 1 to 4 channels and at least one pixel, not the shape {array.shape} (HWC)")
    if array.dtype.kind not in "fbiu":
        raise ValueError(f"an image consists of numbers, not of {array.dtype}")
    if array.dtype.kind in "fb":
        array = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0) * 255
    return array.clip(0, 255).astype(np.uint8)


def as_array(values: Any) -> NDArray[Any]:
    """Return numpy's view of an array, a tensor on any device, or nested sequences."""
    import numpy as np

    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point():
            values = values.double()  # numpy has no bfloat16
    return np.asarray(values)


def png_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels of a PNG; (0, 0) for other data, which TensorBoard shows nevertheless."""
    if not data.startswith(_SIGNATURE) or len(data) < 24:
        return 0, 0
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
