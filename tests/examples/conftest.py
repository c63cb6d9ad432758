"""Image folders for the tests of the examples."""

from __future__ import annotations

import tarfile
from collections import Counter
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


#: CIFAR-10 as JPEG files in ImageFolder layout, where a developer has put it beside the clone.
_ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-images.tar.gz"


@pytest.fixture(scope="session")
def cifar_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ImageFolder with 20 training and 10 test images of each of CIFAR-10's classes."""
    if not _ARCHIVE.exists():
        pytest.skip(f"there is no {_ARCHIVE.name} in {_ARCHIVE.parent}")
    folder = tmp_path_factory.mktemp("cifar")
    kept: Counter[tuple[str, str]] = Counter()
    with tarfile.open(_ARCHIVE) as archive:
        for member in archive:
            split, _, rest = member.name.removeprefix("cifar10-images/").partition("/")
            label, _, name = rest.partition("/")
            if not member.isfile() or kept[split, label] >= (20 if split == "train" else 10):
                continue
            kept[split, label] += 1
            target = folder / split / label
            target.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None
            (target / name).write_bytes(content.read())
    return folder
