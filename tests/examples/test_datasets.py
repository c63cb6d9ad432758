"""The data sets have the promised shapes, and a missing one is reported in one sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from fedtrack.errors import ConfigError
from fedtrack_examples import cifar10, datasets, digits

pytestmark = pytest.mark.torch

Make = Callable[[Path, int], None]


def everything(images: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images and classes of a data set, as a loader hands them out."""
    loaded: tuple[torch.Tensor, torch.Tensor] = next(iter(DataLoader(images, batch_size=len(images))))
    return loaded


def distinct(*images: torch.Tensor) -> int:
    """Return how many different images there are."""
    return len({image.numpy().tobytes() for part in images for image in part})


def test_digits_are_real_and_split() -> None:
    train, test = datasets.load("digits"), datasets.load("digits", train=False)
    assert (len(train), len(test)) == (1438, 359)
    images, targets = everything(train)
    assert images.shape == (1438, 1, 8, 8)
    assert images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) == (-1.0, 1.0)
    assert targets.bincount().tolist() == [142, 146, 142, 146, 145, 146, 145, 143, 139, 144]
    assert distinct(train.pixels, test.pixels) == 1797  # no image is in both parts


def test_digits_are_read_without_importing_sklearn() -> None:
    code = "import sys; from fedtrack_examples import digits; digits.load(); assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_digits_are_the_same_from_sklearn_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    read = digits.load()
    monkeypatch.setattr(digits, "_package_folders", list)
    imported = digits.load()
    assert read.pixels.equal(imported.pixels)
    assert read.targets.equal(imported.targets)


def test_cifar10_is_never_downloaded_by_load(tmp_path: Path) -> None:
    for attempt in (datasets.load, datasets.shape):
        with pytest.raises(ConfigError, match="fedtrack examples prepare-data cifar10"):
            attempt("cifar10", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damaged_cifar10_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "batches.meta").write_bytes(b"not what it was")
    cifar10.check(tmp_path)
    with pytest.raises(ConfigError, match="whole of CIFAR-10"):
        datasets.load("cifar10", tmp_path)


def test_only_cifar10_needs_preparing() -> None:
    assert datasets.prepare("digits") is None
    with pytest.raises(ConfigError, match="'mnist'; valid are 'digits', 'cifar10', 'imagefolder'"):
        datasets.prepare("mnist")  # type: ignore[arg-type]


def test_a_folder_with_train_and_test(tmp_path: Path, make_images: Make) -> None:
    for part, count in (("train", 5), ("test", 3)):
        for name in ("cat", "dog", "emu"):
            make_images(tmp_path / part / name, count)
    train = datasets.load("imagefolder", tmp_path)
    test = datasets.load("imagefolder", tmp_path, train=False)
    assert datasets.shape("imagefolder", tmp_path) == (3, 32, 3)
    images, targets = everything(train)
    assert images.shape == (15, 3, 32, 32)
    assert images.std() > 0.1  # decoded, not left as allocated
    assert targets.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert len(test) == 9


def test_images_are_decoded_once(tmp_path: Path, make_images: Make) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 4)
    train = datasets.load("imagefolder", tmp_path)
    first, _ = everything(train)
    for file in tmp_path.rglob("*.png"):
        file.unlink()
    again, _ = everything(train)
    assert first.equal(again)


def test_a_single_folder_is_split_the_same_way_every_time(tmp_path: Path, make_images: Make) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 10)
    train = everything(datasets.load("imagefolder", tmp_path))
    again = everything(datasets.load("imagefolder", tmp_path))
    test = everything(datasets.load("imagefolder", tmp_path, train=False))
    assert train[0].equal(again[0])
    assert (train[1].bincount().tolist(), test[1].bincount().tolist()) == ([8, 8], [2, 2])
    assert distinct(train[0], test[0]) == 20


def test_folders_that_hold_no_images_are_refused(tmp_path: Path, make_images: Make) -> None:
    with pytest.raises(ConfigError, match="There is no image folder"):
        datasets.load("imagefolder", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="needs --data-dir"):
        datasets.load("imagefolder")
    make_images(tmp_path / "cat", 3)
    with pytest.raises(ConfigError, match="holds 1 class folder"):
        datasets.load("imagefolder", tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(ConfigError, match="dog"):
        datasets.load("imagefolder", tmp_path)


def test_train_and_test_must_have_the_same_classes(tmp_path: Path, make_images: Make) -> None:
    for folder in ("train/cat", "train/dog", "test/cat", "test/emu"):
        make_images(tmp_path / folder, 2)
    with pytest.raises(ConfigError, match="differ in the classes dog, emu"):
        datasets.shape("imagefolder", tmp_path)


def test_a_file_that_is_no_image_is_named(tmp_path: Path, make_images: Make) -> None:
    for name in ("cat", "dog"):
        make_images(tmp_path / name, 3)
    for file in (tmp_path / "cat").iterdir():
        file.write_bytes(b"no image")
    train = datasets.load("imagefolder", tmp_path)
    with pytest.raises(ConfigError, match=r"cat/000\d\.png cannot be read as an image"):
        everything(train)


def test_real_photographs(cifar_images: Path) -> None:
    folder = cifar_images
    shape = datasets.shape("imagefolder", folder)
    train = datasets.load("imagefolder", folder)
    assert shape.classes == int(train.targets.max()) + 1
    some = range(0, len(train), max(1, len(train) // 300))
    images = torch.stack([image for image, _ in train.__getitems__(some)])
    assert images.shape[1:] == (3, 32, 32)
    assert images.abs().max() <= 1
    assert abs(float(images.mean())) < 0.5
    assert float(images.std()) > 0.2
