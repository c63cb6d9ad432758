"""Conversion: objects in a dict of ``log`` become records; those of W&B's SDK and those of ``data_types`` alike.

An object is recognised by what it has, so that the SDK is never imported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedtrack.tracking import MediaWriter, Refused, table_of
from fedtrack_wandb import data_types

#: The endings of the pictures that an image record can hold.
_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}

_OF_CLASS = ("Image", "Table", "Html", "Histogram", "Video", "Audio", "Object3D", "Molecule")


def kind_of(value: Any) -> str:
    """Return the kind of an object that ``record`` takes; "" for all others, such as numbers."""
    if isinstance(value, str | int | float):
        return ""
    if isinstance(value, list | tuple):
        return "List" if value and all(kind_of(item) for item in value) else ""
    for base in type(value).__mro__:
        if base.__module__.partition(".")[0] in ("wandb", "fedtrack_wandb"):
            if base.__name__ in _OF_CLASS:
                return base.__name__
            if base.__name__ in ("Plot", "CustomChart", "CustomPlot", "Visualize"):
                return "Plot"
            if base.__name__ == "Media":
                return "File"
    if hasattr(value, "savefig") or hasattr(value, "gcf") or hasattr(value, "to_plotly_json"):
        return "Figure"
    if hasattr(value, "save") and hasattr(value, "mode") and hasattr(value, "size"):
        return "Image"
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return "Table"
    return "Histogram" if hasattr(value, "tolist") and len(getattr(value, "shape", ())) > 0 and _size(value) > 1 else ""


def record(writer: MediaWriter, key: str, value: Any, step: int | None, time: int) -> None:
    """Log an object of a kind that ``kind_of`` knows.

    Raises:
        Exception: It has no content that a record can hold.
    """
    kind = kind_of(value)
    if kind == "List":
        for index, item in enumerate(value):
            record(writer, f"{key}/{index}", item, step, time)
    elif kind == "Figure":
        writer.record_figure(key, value, step, time)
    elif kind == "Image":
        _image(writer, key, value, step, time)
    elif kind == "Histogram":
        shown = value if hasattr(value, "bins") else data_types.Histogram(value)
        writer.record_histogram(key, list(shown.bins), list(shown.histogram), step, time)
    elif kind in ("Table", "Plot"):
        table = getattr(value, "table", value)
        if table is None:
            raise Refused("the chart has no table that could be logged")
        writer.record_table(key, _plain_table(table), f"tables/{key}/{_name(step, time)}.table.json", step)
    elif kind == "Html":
        writer.record_artifact(f"html/{key}/{_name(step, time)}.html", str(value.html).encode())
    else:
        _file(writer, key, value, step, time)
    _caption(writer, key, value, step, time)


def _image(writer: MediaWriter, key: str, value: Any, step: int | None, time: int) -> None:
    if hasattr(value, "savefig") or (hasattr(value, "save") and hasattr(value, "mode")):
        writer.record_pixels(key, value, step, time=time)
        return
    path = _path_of(value)
    if path is None:
        data = value.data
        if kind_of(data) == "Figure":
            writer.record_figure(key, data, step, time)
        else:
            writer.record_pixels(key, data, step, time=time)
    elif path.suffix.lower() in _FORMATS:
        writer.record_image(key, path.read_bytes(), step, _FORMATS[path.suffix.lower()], time)
    else:
        writer.record_artifact(f"images/{key}/{_name(step, time)}{path.suffix}", path.read_bytes())
    if getattr(value, "masks", None) or getattr(value, "boxes", None) or getattr(value, "_masks", None):
        writer.record_ignored(f"{key}: masks and boxes", "an image record holds only pixels")


def _file(writer: MediaWriter, key: str, value: Any, step: int | None, time: int) -> None:
    name = f"media/{key}/{_name(step, time)}"
    path = _path_of(value)
    if path is not None:
        writer.record_file(path, f"{name}{path.suffix}")
        return
    data: Any = getattr(value, "data", None)
    if isinstance(value, data_types.Video):
        writer.record_video(key, data, step, value.fps, time)
    elif isinstance(value, data_types.Audio):
        writer.record_artifact(f"{name}.wav", _wav(data, value.sample_rate))
    elif hasattr(data, "read"):
        content = data.read()
        writer.record_artifact(f"{name}.{value.ending}", content if isinstance(content, bytes) else content.encode())
    elif isinstance(data, str | bytes):
        writer.record_artifact(f"{name}.{value.ending}", data if isinstance(data, bytes) else data.encode())
    elif data is not None:
        listed = data.tolist() if hasattr(data, "tolist") else data
        writer.record_artifact(f"{name}.json", json.dumps(listed, default=str).encode())
    else:
        raise Refused(f"a {type(value).__name__} has no file that could be logged")


def _caption(writer: MediaWriter, key: str, value: Any, step: int | None, time: int) -> None:
    caption = getattr(value, "_caption", None) or getattr(value, "caption", None)
    if isinstance(caption, str):
        writer.record_text(f"{key}/caption", caption, step, time)


def _plain_table(table: Any) -> Any:
    """Return a table whose cells are plain: of an image or another object, its type is shown."""
    found = table_of(table) if isinstance(table, dict) or hasattr(table, "to_dict") else None
    if found is not None:
        return found
    rows = [[f"<{type(cell).__name__}>" if kind_of(cell) else cell for cell in row] for row in table.data]
    return table_of(rows, table.columns)


def _path_of(value: Any) -> Path | None:
    given = getattr(value, "_path", None) or getattr(value, "data", None)
    try:
        return Path(given) if isinstance(given, str | Path) and Path(given).is_file() else None
    except (OSError, ValueError):
        return None


def _wav(samples: Any, sample_rate: int) -> bytes:
    import io
    import struct
    import wave

    listed = samples.ravel().tolist() if hasattr(samples, "ravel") else list(samples)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(b"".join(struct.pack("<h", round(max(-1.0, min(1.0, float(s))) * 32767)) for s in listed))
    return buffer.getvalue()


def _size(value: Any) -> int:
    size = 1
    for length in value.shape:
        size *= int(length)
    return size


def _name(step: int | None, time: int) -> str:
    return str(time // 1000 if step is None else step)
