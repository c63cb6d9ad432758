"""Pixels: arrays, tensors, figures and pictures of other libraries become PNG files.

The only file of core that uses numpy. It is imported when a script logs an array, and such a script has it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedtrack.tracking.png import COLOUR_TYPES, encode_animation, encode_png

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Pixels between the images of a grid, and images per row: those of torchvision's make_grid, which torch uses.
_GAP, _PER_ROW = 2, 8

_RED = (255, 0, 0)


def png_of(image: Any, dataformats: str = "") -> bytes:
    """Return one image as a PNG.

    Args:
        image: A picture of PIL, or an array or tensor of floats from 0 to 1, bools, or integers from 0 to 255. Values
            outside are clipped; NaN is black.
        dataformats: The meaning of each axis: ``C``, ``H`` and ``W`` in any order, or ``H`` and ``W``; with ``N``, a
            grid of several images. "" means HWC or HW; for a tensor, CHW.

    Raises:
        ValueError: ``dataformats`` does not fit the array, or the array has no pixels, or it has more than 4 channels
            or none.
    """
    if hasattr(image, "save") and hasattr(image, "mode"):
        return _png_of_picture(image)
    array = as_array(image)
    if not dataformats:
        dataformats = "HW" if array.ndim == 2 else "CHW" if hasattr(image, "detach") else "HWC"
    pixels = pixels_of(array, dataformats)
    return encode_png(pixels.tobytes(), _shape(pixels))


def png_of_figure(figure: Any, **save_kwargs: Any) -> bytes:
    """Return a figure of matplotlib as a PNG, or that of ``matplotlib.pyplot``; plotly's if it can write images.

    Raises:
        TypeError: It is no figure.
    """
    if hasattr(figure, "gcf"):  # the module matplotlib.pyplot
        figure = figure.gcf()
    elif hasattr(figure, "get_figure") and not hasattr(figure, "savefig"):  # axes
        figure = figure.get_figure()
    if hasattr(figure, "savefig"):
        buffer = io.BytesIO()
        figure.savefig(buffer, **{**save_kwargs, "format": "png"})
        return buffer.getvalue()
    if hasattr(figure, "to_image"):
        return bytes(figure.to_image(format="png", **save_kwargs))
    raise TypeError(f"{type(figure).__name__} is no figure of matplotlib or plotly")


def animation_of(video: Any, fps: float) -> bytes:
    """Return a video as an animated PNG.

    Args:
        video: An array or tensor of N x T x C x H x W or T x C x H x W; see ``png_of`` for its values. The videos of
            a batch are side by side.
        fps: Frames per second.

    Raises:
        ValueError: It has other axes, no frame, or no frame rate.
    """
    array = as_array(video)
    if array.ndim == 4:
        array = array[None]
    if array.ndim != 5 or 0 in array.shape:
        raise ValueError(f"a video has the axes NTCHW or TCHW, not the shape {array.shape}")
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"a video has a frame rate above 0, not {fps!r}")
    frames = [pixels_of(array[:, index], "NCHW") for index in range(array.shape[1])]
    return encode_animation([frame.tobytes() for frame in frames], _shape(frames[0]), float(fps))


def pixels_of(image: Any, dataformats: str) -> NDArray[np.uint8]:
    """Return an array as height x width x channels; see ``png_of``."""
    array = as_array(image)
    axes = dataformats.upper()
    if sorted(axes) not in (list("CHW"), list("HW"), list("CHNW"), list("HNW")) or array.ndim != len(axes):
        raise ValueError(
            f"dataformats {dataformats!r} does not describe an image of shape {array.shape}; "
            "valid are 'CHW', 'HWC', 'HW' and 'NCHW', and other orders of these letters"
        )
    if "C" not in axes:
        array, axes = array[None], "C" + axes
    if "N" in axes:
        return _grid([_one(part) for part in array.transpose([axes.index(axis) for axis in "NHWC"])])
    return _one(array.transpose([axes.index(axis) for axis in "HWC"]))


def draw_boxes(pixels: NDArray[np.uint8], boxes: Any, rescale: float = 1) -> NDArray[np.uint8]:
    """Return a copy of an image (HWC) with the outline of each box, ``(xmin, ymin, xmax, ymax)``, in red."""
    import numpy as np

    drawn = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3].copy()
    height, width, _ = drawn.shape
    for box in as_array(boxes).reshape(-1, 4) * rescale:
        left, top, right, bottom = (int(side) for side in box)
        left, right = (int(np.clip(side, 0, width - 1)) for side in (left, right))
        top, bottom = (int(np.clip(side, 0, height - 1)) for side in (top, bottom))
        drawn[top, left : right + 1] = drawn[bottom, left : right + 1] = _RED
        drawn[top : bottom + 1, left] = drawn[top : bottom + 1, right] = _RED
    return drawn


def as_array(values: Any) -> NDArray[Any]:
    """Return numpy's view of an array, a tensor on any device, or nested sequences."""
    import numpy as np

    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point():
            values = values.double()  # numpy has no bfloat16
    return np.asarray(values)


def _one(array: NDArray[Any]) -> NDArray[np.uint8]:
    import numpy as np

    if array.shape[2] not in COLOUR_TYPES or 0 in array.shape:
        raise ValueError(f"an image has 1 to 4 channels and at least one pixel, not the shape {array.shape} (HWC)")
    if array.dtype.kind not in "fbiu":
        raise ValueError(f"an image consists of numbers, not of {array.dtype}")
    if array.dtype.kind in "fb":
        array = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0) * 255
    return array.clip(0, 255).astype(np.uint8)


def _grid(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    import numpy as np

    if not images:
        raise ValueError("a grid of images has at least one image")
    height, width, channels = images[0].shape
    columns = min(len(images), _PER_ROW)
    rows = -(-len(images) // columns)
    grid = np.zeros((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels), np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + _GAP), (index % columns) * (width + _GAP)
        grid[top : top + height, left : left + width] = image
    return grid


def _png_of_picture(picture: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format="PNG")
    except (OSError, KeyError):  # a mode that PNG does not have, such as CMYK
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, format="PNG")
    return buffer.getvalue()


def _shape(pixels: NDArray[np.uint8]) -> tuple[int, int, int]:
    height, width, channels = pixels.shape
    return height, width, channels
