"""Arrays and figures become the pictures that their users mean; Pillow reads them back."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedtrack.tracking.pixels import animation_of, draw_boxes, pixels_of, png_of, png_of_figure


def opened(data: bytes) -> Any:
    return Image.open(io.BytesIO(data))


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_an_array_without_axes_is_hwc_or_hw() -> None:
    assert np.array_equal(np.asarray(opened(png_of(PIXELS))), PIXELS)
    assert np.array_equal(np.asarray(opened(png_of(PIXELS[:, :, 0]))), PIXELS[:, :, 0])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA"])
def test_a_picture_of_pil_is_kept(mode: str) -> None:
    picture = Image.fromarray(PIXELS).convert(mode)
    assert np.array_equal(np.asarray(opened(png_of(picture)).convert("RGB")), np.asarray(picture.convert("RGB")))


def test_a_grid_has_eight_images_in_a_row_and_gaps() -> None:
    images = np.stack([np.full((1, 4, 6), 10 * index, np.uint8) for index in range(11)])
    grid = pixels_of(images, "NCHW")
    assert grid.shape == (2 * 4 + 2, 8 * 6 + 7 * 2, 1)
    assert [int(grid[0, index * 8, 0]) for index in range(8)] == [10 * index for index in range(8)]
    assert [int(grid[6, index * 8, 0]) for index in range(4)] == [80, 90, 100, 0]


def test_a_video_is_an_animated_png() -> None:
    video = np.stack([np.full((2, 3, 4, 5), 50 * index, np.uint8) for index in range(3)], axis=1)
    picture = opened(animation_of(video, fps=4))
    assert (picture.n_frames, picture.info["duration"]) == (3, 250)
    shown = []
    for index in range(3):
        picture.seek(index)
        shown.append(picture.convert("RGB").getpixel((0, 0))[0])
    assert shown == [0, 50, 100]


@pytest.mark.parametrize(
    ("video", "fps"), [(np.zeros((2, 2)), 4), (np.zeros((1, 0, 3, 2, 2)), 4), (np.zeros((1, 1, 3, 2, 2)), 0)]
)
def test_what_is_no_video_is_refused(video: Any, fps: float) -> None:
    with pytest.raises(ValueError, match="a video has"):
        animation_of(video, fps)


def test_boxes_are_outlines_inside_of_the_image() -> None:
    drawn = draw_boxes(np.zeros((6, 8, 1), np.uint8), [[1, 1, 4, 3], [-5, 0, 99, 5]])
    assert drawn.shape == (6, 8, 3)
    assert drawn[1, 2].tolist() == [255, 0, 0]
    assert drawn[2, 2].tolist() == [0, 0, 0]
    assert drawn[0, 0].tolist() == [255, 0, 0]


def test_figures_axes_and_pyplot_are_pictures() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(2, 1), dpi=50)
    axes.plot([1, 2])
    try:
        assert [opened(png_of_figure(source)).size for source in (figure, axes, pyplot)] == [(100, 50)] * 3
    finally:
        pyplot.close(figure)
    with pytest.raises(TypeError, match="no figure"):
        png_of_figure(None)
