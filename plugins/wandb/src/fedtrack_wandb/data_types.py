"""Data types: ``Image``, ``Table``, ``Html`` and the like, with the arguments of W&B's, for sites without W&B's SDK.

The writer takes objects of W&B's own classes as well; see ``conversion.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any


class AlertLevel(Enum):
    """The levels of ``alert``."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class Image:
    """An image: an array (HWC or HW; of a tensor CHW), a picture of PIL, a figure, or a path."""

    def __init__(
        self,
        data_or_path: Any,
        mode: str | None = None,
        caption: str | None = None,
        grouping: int | None = None,
        classes: Any = None,
        boxes: Any = None,
        masks: Any = None,
        file_type: str | None = None,
    ) -> None:
        self.data = data_or_path
        self.caption = caption
        self.boxes = boxes
        self.masks = masks


class File:
    """A file, or content that a script has made, with its ending: the base of video, audio and the like.

    Attributes:
        ending: The ending of content that has no path.
    """

    ending = "bin"

    def __init__(self, data_or_path: Any, caption: str | None = None, **_: Any) -> None:
        self.data = data_or_path
        self.caption = caption


class Video(File):
    """A video: a path, or an array of T x C x H x W."""

    ending = "mp4"

    def __init__(
        self, data_or_path: Any, caption: str | None = None, fps: int | None = None, format: str | None = None
    ) -> None:
        super().__init__(data_or_path, caption)
        self.fps = fps or 4
        self.ending = format or self.ending


class Audio(File):
    """A sound: a path, or samples from -1 to 1."""

    ending = "wav"

    def __init__(self, data_or_path: Any, sample_rate: int | None = None, caption: str | None = None) -> None:
        super().__init__(data_or_path, caption)
        self.sample_rate = sample_rate or 44_100


class Object3D(File):
    """A 3D object: a path, or points."""

    ending = "json"


class Molecule(File):
    """A molecule: a path or its text."""

    ending = "pdb"


class Html:
    """A page: its text, a path that ends in ``.html``, or an open file."""

    def __init__(self, data: Any, inject: bool = True, data_is_not_path: bool = False) -> None:
        text = data.read() if hasattr(data, "read") else data
        is_path = isinstance(text, os.PathLike) or (not data_is_not_path and str(text).endswith(".html"))
        self.html = Path(text).read_text() if is_path and Path(text).is_file() else str(text)


class Histogram:
    """The distribution of a sequence of numbers, or counts and edges as ``numpy.histogram`` returns them."""

    def __init__(self, sequence: Any = None, np_histogram: Any = None, num_bins: int = 64) -> None:
        if np_histogram is not None:
            self.histogram = [float(count) for count in np_histogram[0]]
            self.bins = [float(edge) for edge in np_histogram[1]]
            return
        numbers = [number for number in _numbers(sequence) if abs(number) < float("inf")]
        low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
        if low == high:
            low, high = low - 0.5, high + 0.5
        width = (high - low) / num_bins
        self.bins = [low + index * width for index in range(num_bins)] + [high]
        self.histogram = [0.0] * num_bins
        for number in numbers:
            self.histogram[min(num_bins - 1, int((number - low) / width))] += 1


class Table:
    """Columns and rows; ``add_data`` adds a row."""

    def __init__(
        self,
        columns: Sequence[Any] | None = None,
        data: Any = None,
        rows: Any = None,
        dataframe: Any = None,
        dtype: Any = None,
        optional: bool | list[bool] = True,
        allow_mixed_types: bool = False,
        log_mode: str | None = "IMMUTABLE",
    ) -> None:
        frame = dataframe if dataframe is not None else data if hasattr(data, "to_dict") else None
        if frame is not None:
            split = frame.to_dict(orient="split")
            self.columns, self.data = list(split["columns"]), [list(row) for row in split["data"]]
            return
        given = data if data is not None else rows
        self.data = [list(row) for row in (given if given is not None else ())]
        names = columns if columns is not None else ["Input", "Output", "Expected"]
        self.columns = [str(name) for name in names]

    def add_data(self, *row: Any) -> None:
        """Add a row."""
        self.data.append(list(row))

    def add_column(self, name: str, data: Iterable[Any]) -> None:
        """Add a column."""
        values = list(data)
        self.columns.append(name)
        self.data = [[*row, value] for row, value in zip(self.data or [[] for _ in values], values, strict=True)]

    def get_column(self, name: str) -> list[Any]:
        """Return the values of a column."""
        return [row[self.columns.index(name)] for row in self.data]


class Artifact:
    """Files under a name; ``log_artifact`` logs them. Of ``use_artifact`` it is empty."""

    def __init__(
        self,
        name: str,
        type: str = "",
        description: str | None = None,
        metadata: dict[str, Any] | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        storage_region: str | None = None,
        digest_algorithm: str = "MD5",
    ) -> None:
        self.name, self.type, self.description = name, type, description
        self.metadata = dict(metadata or {})
        self.files: dict[str, Path] = {}

    def add_file(self, local_path: str | os.PathLike[str], name: str | None = None, *_: Any, **__: Any) -> None:
        """Add a file."""
        self.files[name or Path(local_path).name] = Path(local_path)

    def add_dir(self, local_path: str | os.PathLike[str], name: str | None = None, *_: Any, **__: Any) -> None:
        """Add all files below a folder."""
        root = Path(local_path)
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            inner = file.relative_to(root).as_posix()
            self.files[f"{name}/{inner}" if name else inner] = file

    def wait(self, timeout: int | None = None) -> Artifact:
        """Return the artifact: its files are logged when ``log_artifact`` returns."""
        return self


class Plot:
    """What a function of ``wandb.plot`` returns: the table behind the chart, if it was given one."""

    def __init__(self, table: Any) -> None:
        self.table = table


class Plots:
    """``wandb.plot``: of each chart, its table is logged."""

    def __getattr__(self, chart: str) -> Callable[..., Plot]:
        if chart.startswith("_"):
            raise AttributeError(chart)

        def plot(*args: Any, **kwargs: Any) -> Plot:
            given = [*args, *kwargs.values()]
            table = next((value for value in given if hasattr(value, "columns") and hasattr(value, "data")), None)
            if table is None:
                columns = {f"value {index}": value for index, value in enumerate(args) if _is_column(value)}
                columns |= {key: value for key, value in kwargs.items() if _is_column(value)}
                table = columns or None
            return Plot(table)

        return plot


def _is_column(value: Any) -> bool:
    return isinstance(value, list | tuple) or hasattr(value, "tolist")


def _numbers(values: Any) -> Iterable[float]:
    listed = values.tolist() if hasattr(values, "tolist") else values
    for value in listed if isinstance(listed, list | tuple) else [listed]:
        if isinstance(value, list | tuple) or hasattr(value, "tolist"):
            yield from _numbers(value)
        else:
            yield float(value)
