"""PNG files that Pillow reads back, with each number of channels."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from fedtrack.tracking.png import encode_animation, encode_png


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_pixels_come_back(channels: int, mode: str) -> None:
    pixels = bytes(range(2 * 3 * channels))
    picture = Image.open(io.BytesIO(encode_png(pixels, (2, 3, channels))))
    picture.load()
    assert (picture.mode, picture.size, picture.tobytes()) == (mode, (3, 2), pixels)


@pytest.mark.parametrize("fps", [0.001, 1, 1e9])
def test_every_frame_comes_back(fps: float) -> None:
    frames = [bytes([value] * 12) for value in (0, 100, 200)]
    picture = Image.open(io.BytesIO(encode_animation(frames, (2, 2, 3), fps)))
    assert picture.n_frames == 3
    for index, frame in enumerate(frames):
        picture.seek(index)
        assert picture.convert("RGB").tobytes() == frame
