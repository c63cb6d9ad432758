"""MediaWriter: a writer that also takes figures, videos, tables, files and folders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedtrack.tracking import pixels
from fedtrack.tracking.normalise import Refused
from fedtrack.tracking.tables import Table, table_of
from fedtrack.tracking.writer import Writer

#: The deepest nesting of hyperparameters that is followed: a dict may contain itself.
_MAX_DEPTH = 16


class MediaWriter(Writer):
    """Base of the dialects whose calls take objects of other libraries; see Writer.

    Each method turns such an object into the records that every receiver can hold. An object that cannot be turned
    into one is counted as rejected, and no method raises.
    """

    def record_pixels(
        self, key: str, image: Any, step: int | None = None, dataformats: str = "", time: int | None = None
    ) -> None:
        """Log an array, tensor or picture as a PNG; for ``dataformats`` see ``fedtrack.tracking.pixels.png_of``."""
        self._made(key, lambda: self.record_image(key, pixels.png_of(image, dataformats), step, time=time))

    def record_figure(self, key: str, figure: Any, step: int | None = None, time: int | None = None) -> None:
        """Log a figure of matplotlib (or axes, or ``pyplot``) or plotly as a PNG."""
        self._made(key, lambda: self.record_image(key, pixels.png_of_figure(figure), step, time=time))

    def record_video(
        self, key: str, video: Any, step: int | None = None, fps: float = 4, time: int | None = None
    ) -> None:
        """Log a video (NTCHW or TCHW) as an animated PNG, which a browser plays."""
        self._made(key, lambda: self.record_image(key, pixels.animation_of(video, fps), step, time=time))

    def record_boxes(
        self,
        key: str,
        image: Any,
        boxes: Any,
        step: int | None = None,
        dataformats: str = "CHW",
        rescale: float = 1,
        time: int | None = None,
    ) -> None:
        """Log an image with the outlines of boxes ``(xmin, ymin, xmax, ymax)``, which are multiplied by ``rescale``."""

        def make() -> None:
            drawn = pixels.draw_boxes(pixels.pixels_of(image, dataformats), boxes, rescale)
            self.record_image(key, pixels.png_of(drawn, "HWC"), step, time=time)

        self._made(key, make)

    def record_table(self, key: str, data: Any, path: str, step: int | None = None) -> None:
        """Log a table: as the JSON artifact ``path``, and as text that shows its first rows.

        Args:
            key: The name of the text.
            data: What ``table_of`` takes: a dict of columns, a DataFrame, rows.
            path: The path of the artifact.
            step: The script's step, or None.
        """

        def make() -> None:
            table = data if isinstance(data, Table) else table_of(data)
            content, shown = table.json(), table.markdown()
            self.record_artifact(path, content)
            self.record_text(key, shown, step)

        self._made(key, make)

    def record_params(self, params: Any) -> None:
        """Log hyperparameters of any shape; those of nested objects are named ``outer/inner``.

        Args:
            params: A mapping, a dataclass, or an object with attributes such as the arguments of a script.
        """
        self._made("params", lambda: self._params("", params, 0))

    def _params(self, prefix: str, params: Any, depth: int) -> None:
        for key, value in _named(params):
            name = f"{prefix}{key}"
            if depth < _MAX_DEPTH and (isinstance(value, Mapping) or _is_dataclass(value)):
                self._params(f"{name}/", value, depth + 1)
            else:
                self.record_param(name, value)

    def record_file(self, source: str | os.PathLike[str], path: str = "") -> None:
        """Log a copy of a file as an artifact.

        Args:
            source: The file.
            path: The artifact's path; "" means the file's name.
        """

        def make() -> None:
            file = Path(source)
            self.record_artifact(path or file.name, _content(file))

        self._made(str(path or source), make)

    def record_folder(self, source: str | os.PathLike[str], path: str = "") -> None:
        """Log copies of all files below a folder as artifacts, in the folder ``path``; links are not followed."""

        def make() -> None:
            root = Path(source)
            if not root.is_dir():
                raise Refused(f"{str(source)!r} is no folder")
            files = (Path(base, name) for base, _, names in os.walk(root) for name in names)
            for file in sorted(file for file in files if file.is_file() and not file.is_symlink()):
                inner = file.relative_to(root).as_posix()
                self.record_file(file, f"{path.rstrip('/')}/{inner}" if path else inner)

        self._made(str(source), make)

    def record_ignored(self, call: str, reason: str) -> None:
        """Count a call whose content no record can hold; the log has one warning for each ``call``.

        Args:
            call: The call, such as ``"add_graph()"``.
            reason: Why it cannot be logged, and what to do.
        """
        self.record_rejected(call, Refused(reason))

    def _made(self, key: str, make: Callable[[], None]) -> None:
        try:
            make()
        except Exception as error:  # objects of other libraries may raise anything
            self.record_rejected(key, error)


def _named(params: Any) -> list[tuple[Any, Any]]:
    if isinstance(params, Mapping):
        return [(key, params[key]) for key in params]
    if _is_dataclass(params):
        return [(field.name, getattr(params, field.name)) for field in dataclasses.fields(params)]
    return list(vars(params).items())


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refused(f"the file {str(file)!r} cannot be read: {error.strerror}") from None
