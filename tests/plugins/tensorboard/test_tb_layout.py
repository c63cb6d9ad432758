"""The CUSTOM SCALARS tab: charts for the metrics that have a band, read back from the files."""

from __future__ import annotations

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from fedtrack import Batch, RunInfo
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric
from fedtrack_tensorboard import TBAnalyticsReceiver
from fedtrack_tensorboard.event_file import read_payloads

STATISTICS = ("mean", "min", "max", "p10", "p50", "p90")


def opened(folder: Path) -> TBAnalyticsReceiver:
    receiver = TBAnalyticsReceiver()
    receiver.open(RunInfo("run-1", "job", folder, "server", (), 1, BlobStore(folder / "blobs")))
    return receiver


def band(receiver: TBAnalyticsReceiver, metric: str, first: int, site: str = "server") -> None:
    records = [Metric(10**18, f"across_sites/{metric}/{name}", 0.5, 0) for name in STATISTICS]
    receiver.receive(Batch(site, "0" * 32, range(first, first + len(records)), records))
    receiver.flush()


def layout(folder: Path) -> Layout | None:
    files = list((folder / "tb_events" / "server").glob("layout/*.layout"))
    if not files:
        return None
    (file,) = files
    events = [Event.FromString(payload) for payload in read_payloads(file)]
    value = events[1].summary.value[0]
    assert (value.tag, value.metadata.plugin_data.plugin_name) == ("custom_scalars__config__", "custom_scalars")
    return Layout.FromString(value.tensor.string_val[0])


def titles(found: Layout | None) -> dict[str, list[str]]:
    assert found is not None
    return {category.title: [chart.title for chart in category.chart] for category in found.category}


def test_each_metric_has_a_chart_of_its_band_and_one_of_all_sites(tmp_path: Path) -> None:
    receiver = opened(tmp_path)
    band(receiver, "val/loss", 1)
    band(receiver, "round/waiting_seconds", 7)
    found = layout(tmp_path)
    assert titles(found) == {"Across sites": ["round/waiting_seconds", "val/loss"], "Each site": ["val/loss"]}
    assert found is not None
    whole, most = found.category[0].chart[1].margin.series
    prefix = "across_sites/val/loss/"
    assert (whole.value, whole.lower, whole.upper) == (f"{prefix}mean", f"{prefix}min", f"{prefix}max")
    assert (most.value, most.lower, most.upper) == (f"{prefix}p50", f"{prefix}p10", f"{prefix}p90")
    assert list(found.category[1].chart[0].multiline.tag) == ["^val/loss$"]


def test_a_receiver_that_is_opened_again_knows_the_bands_of_before(tmp_path: Path) -> None:
    band(opened(tmp_path), "loss", 1)
    receiver = opened(tmp_path)
    band(receiver, "acc", 7)
    assert titles(layout(tmp_path))["Across sites"] == ["acc", "loss"]


def test_a_site_has_no_layout_and_a_run_without_bands_neither(tmp_path: Path) -> None:
    receiver = opened(tmp_path)
    band(receiver, "loss", 1, site="site-1")
    receiver.receive(Batch("server", "0" * 32, [1], [Metric(10**18, "round/seconds", 1.0, 0)]))
    receiver.flush()
    assert layout(tmp_path) is None
    assert not list((tmp_path / "tb_events").rglob("*.layout"))
