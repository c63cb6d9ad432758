"""The data sets that examples train on, by name; torch is imported only when images are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from fedtrack.errors import ConfigError
from fedtrack_examples import cifar10, image_layout

if TYPE_CHECKING:
    from fedtrack_examples.image_set import ImageSet

Name = Literal["digits", "cifar10", "imagefolder"]
NAMES: tuple[Name, ...] = get_args(Name)


class ImageShape(NamedTuple):
    """The properties of a data set's images, which determine the layers of a network.

    Attributes:
        channels: 1 for grey, 3 for RGB.
        size: Height and width in pixels.
        classes: How many classes.
    """

    channels: int
    size: int
    classes: int


def load(name: Name, data_dir: Path | None = None, train: bool = True) -> ImageSet:
    """Return a data set's training or test images; never downloads anything.

    Args:
        name: ``"digits"`` comes with scikit-learn, ``"cifar10"`` is prepared once, ``"imagefolder"`` is any
            folder that torchvision's ImageFolder understands.
        data_dir: The folder of the images; ``"digits"`` needs none, ``"cifar10"`` has a default.
        train: Whether to return the training images or the test images.

    Raises:
        ConfigError: There is no such data set, or its images are not there.
    """
    if name == "digits":
        from fedtrack_examples import digits

        return digits.load(train)
    if name == "cifar10":
        return cifar10.load(data_dir or default_folder(), train)
    if name == "imagefolder":
        from fedtrack_examples import image_folder

        return image_folder.load(_required(data_dir), train)
    raise _unknown(name)


def shape(name: Name, data_dir: Path | None = None) -> ImageShape:
    """Return the shape of a data set's images without loading them or importing torch.

    Raises:
        ConfigError: There is no such data set, or its images are not there.
    """
    if name == "digits":
        return ImageShape(1, 8, 10)
    if name == "cifar10":
        cifar10.check(data_dir or default_folder())
        return ImageShape(3, 32, 10)
    if name == "imagefolder":
        return ImageShape(3, 32, len(image_layout.class_names(_required(data_dir))))
    raise _unknown(name)


def prepare(name: Name, data_dir: Path | None = None) -> Path | None:
    """Download a data set once, and return its folder; None if there is nothing to download.

    Raises:
        ConfigError: There is no such data set.
    """
    if name not in NAMES:
        raise _unknown(name)
    if name != "cifar10":
        return None
    folder = data_dir or default_folder()
    cifar10.prepare(folder)
    return folder


def default_folder() -> Path:
    """Return the default folder of downloaded data sets."""
    return Path.home() / ".cache" / "fedtrack" / "data"


def _required(data_dir: Path | None) -> Path:
    if data_dir is None:
        raise ConfigError("The data set 'imagefolder' needs --data-dir, a folder with one folder per class.")
    return data_dir


def _unknown(name: str) -> ConfigError:
    return ConfigError(f"No data set is called {name!r}; valid are {', '.join(map(repr, NAMES))}.")
