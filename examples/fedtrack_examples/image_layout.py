"""Image layouts: the classes and parts of an image folder, from its directories alone; job.py uses it without torch."""

from __future__ import annotations

from pathlib import Path

from fedtrack.errors import ConfigError


def is_split(data_dir: Path) -> bool:
    """Return whether the folder has a training part and a test part."""
    return (data_dir / "train").is_dir() and (data_dir / "test").is_dir()


def class_names(data_dir: Path) -> list[str]:
    """Return the classes of an image folder in the order of their numbers.

    Raises:
        ConfigError: There is no such folder, it holds fewer than two classes, or train and test differ.
    """
    if not data_dir.is_dir():
        raise ConfigError(f"There is no image folder {data_dir}; --data-dir names one with a folder per class.")
    if not is_split(data_dir):
        names = _subfolders(data_dir)
    else:
        names, tested = _subfolders(data_dir / "train"), _subfolders(data_dir / "test")
        if different := set(names) ^ set(tested):
            raise ConfigError(f"{data_dir}: train and test differ in the classes {', '.join(sorted(different))}.")
    if len(names) < 2:
        raise ConfigError(
            f"{data_dir} holds {len(names)} class folders; it needs at least two, as <class>/... "
            "or {train,test}/<class>/..."
        )
    return names


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
