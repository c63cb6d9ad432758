"""Image folders for the tests of the examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_images() -> Callable[[Path, int], None]:
    """Return a function that fills a folder with ``count`` small pictures of random noise."""

    def make(folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        rng = np.random.default_rng(list(bytes(folder)))
        for index in range(count):
            pixels = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index:04}.png")

    return make
