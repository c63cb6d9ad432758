"""Layout: the CUSTOM SCALARS tab: for each metric a chart with the band over the sites, and one with all sites.

TensorBoard reads the newest layout of each run. So it has a file of its own, which is replaced when a metric is new. A
TensorBoard that has already read the file shows the change after a restart. The file is in a run of its own: whoever
reads the tensors of the server's run as texts finds no message among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2, metadata

from fedtrack_tensorboard.event_file import append, frame

#: The run of the layout, below the server's.
RUN = "layout"
_FILE_NAME = "events.out.tfevents.00000000.layout"

_BAND = re.compile(r"across_sites/(.+)/mean\Z", re.DOTALL)

#: The times and counts of a round, which no site logs itself.
_OF_ROUNDS = "round/"


def metric_of(tag: str) -> str:
    """Return the metric whose band a tag belongs to; "" if it belongs to none, or is not the mean."""
    match = _BAND.match(tag)
    return match[1] if match else ""


def layout_of(metrics: Iterable[str]) -> layout_pb2.Layout:
    """Return the charts of the metrics, in the order of their names."""
    layout = layout_pb2.Layout()
    names = sorted(metrics)
    bands = layout.category.add(title="Across sites")
    for name in names:
        chart = bands.chart.add(title=name)
        for value, lower, upper in (("mean", "min", "max"), ("p50", "p10", "p90")):
            prefix = f"across_sites/{name}/"
            chart.margin.series.add(value=prefix + value, lower=prefix + lower, upper=prefix + upper)
    each = layout.category.add(title="Each site")
    for name in names:
        if not name.startswith(_OF_ROUNDS):
            chart = each.chart.add(title=name)
            chart.multiline.tag.append(f"^{re.escape(name)}$")
    return layout


def write(folder: Path, metrics: Iterable[str], started: float) -> None:
    """Replace the layout below the run in ``folder``.

    Args:
        folder: The folder of the server's run, which exists.
        metrics: The metrics that have a band.
        started: The time of the first one, seconds since the epoch.

    Raises:
        OSError: The file cannot be written.
    """
    tensor = TensorProto(dtype=DT_STRING, string_val=[layout_of(metrics).SerializeToString()])
    tensor.tensor_shape.SetInParent()
    value = Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, metadata=metadata.create_summary_metadata(), tensor=tensor)
    version = Event(wall_time=started, file_version="brain.Event:2")
    content = Event(wall_time=started, summary=Summary(value=[value]))
    run = folder / RUN
    run.mkdir(mode=0o700, exist_ok=True)
    temporary = run / ".layout"
    temporary.unlink(missing_ok=True)
    append(temporary, frame(version.SerializeToString()) + frame(content.SerializeToString()), create=True)
    temporary.replace(run / _FILE_NAME)
