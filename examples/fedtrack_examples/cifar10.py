"""CIFAR-10: 60,000 photographs of 32x32 pixels in ten classes, downloaded once, before a job runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

from fedtrack.errors import ConfigError

if TYPE_CHECKING:
    from fedtrack_examples.image_set import ImageSet


def check(data_dir: Path) -> None:
    """Raise ConfigError unless ``data_dir`` has CIFAR-10's files; only ``load`` checks that they are complete."""
    if not (data_dir / "cifar-10-batches-py" / "batches.meta").is_file():
        raise _missing(data_dir)


def prepare(data_dir: Path) -> None:
    """Download CIFAR-10 into ``data_dir`` (170 MB) unless it is there already.

    Two processes that prepare the same folder wait for each other.
    """
    from filelock import FileLock
    from torchvision.datasets import CIFAR10

    data_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(data_dir / "cifar10.lock"):
        try:
            CIFAR10(data_dir, download=True)
        except URLError as error:
            raise ConfigError(
                f"CIFAR-10 cannot be downloaded into {data_dir}: {error.reason}; it needs the network once, or give a "
                "folder that has it with --data-dir."
            ) from None


def load(data_dir: Path, train: bool = True) -> ImageSet:
    """Return the 50,000 training images, or the 10,000 test images, of shape (3, 32, 32); never downloads.

    Raises:
        ConfigError: ``data_dir`` does not have the complete data set.
    """
    import torch
    from torchvision.datasets import CIFAR10

    from fedtrack_examples.image_set import ImageSet

    try:
        # The files are pickles: torchvision reads them only if their MD5 sums are those of the original.
        data = CIFAR10(data_dir, train=train)
    except RuntimeError:
        raise _missing(data_dir) from None
    pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2)
    return ImageSet(pixels, torch.tensor(data.targets))


def _missing(data_dir: Path) -> ConfigError:
    return ConfigError(
        f"{data_dir} does not hold the whole of CIFAR-10; sites never download: "
        "run `fedtrack examples prepare-data cifar10` first, with `--data-dir` for a folder of your own."
    )
