"""The content of the event files, read with TensorBoard's EventAccumulator."""

from __future__ import annotations

import logging
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtrack import Permanent, RunInfo, Transient
from fedtrack.tracking.records import Artifact, BlobRef, Histogram, Image, Metric, Param, Record, Text
from fedtrack_tensorboard import TBAnalyticsReceiver
from fedtrack_tensorboard.site_folder import folder_name

NOW = 1_700_000_000_123_456_789

Feed = Callable[..., None]


@pytest.fixture
def receiver(run: RunInfo) -> TBAnalyticsReceiver:
    return opened(run)


def opened(run: RunInfo) -> TBAnalyticsReceiver:
    receiver = TBAnalyticsReceiver()
    receiver.open(run)
    return receiver


def metrics(steps: Any, tag: str = "loss") -> list[Record]:
    return [Metric(NOW + n, tag, float(n), step) for n, step in enumerate(steps)]


def test_the_python_reader_sees_scalars_as_torch_writes_them(
    receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, read_run: Any
) -> None:
    feed(receiver, metrics([3, 4, None]))
    found = read_run(run.folder / "tb_events/site-1").Scalars("loss")
    assert [(e.wall_time, e.step, e.value) for e in found] == [
        ((NOW + n) / 10**9, step, n) for n, step in enumerate([3, 4, 5])
    ]


def test_nothing_exists_before_a_site_logs(receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed) -> None:
    folder = run.folder / "tb_events"
    assert list(folder.iterdir()) == []
    feed(receiver, metrics([1]), site="site-9")
    assert [path.name for path in folder.iterdir()] == ["site-9"]


def test_folders_and_files_are_private(receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed) -> None:
    feed(receiver, [*metrics([2, 1]), Param(NOW, "lr", 1)])
    receiver.flush()
    paths = [run.folder / "tb_events", *(run.folder / "tb_events").rglob("*")]
    assert len(paths) == 6
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_records_are_on_disk_when_receive_returns(
    receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, read_run: Any
) -> None:
    for n in range(5):
        feed(receiver, [Metric(NOW, "loss", 0.0, n)], first=n)
        assert len(read_run(run.folder / "tb_events/site-1").Scalars("loss")) == n + 1


def test_images_histograms_and_texts(receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, read_run: Any) -> None:
    data = b"\xff\xd8 as good as a JPEG"
    stored = run.blobs.put(b"long text")
    records = [
        Image(NOW, "i", data, 1, "jpeg"),
        Text(NOW, "t", stored, 2),
        Histogram(NOW, "h", (-1.0, 0.0, 3.0), (1.0, 2.0), 3),
        Histogram(NOW, "empty", (0.0, 1.0), (0.0,), 3),
    ]
    feed(receiver, records)
    found = read_run(run.folder / "tb_events/site-1")
    assert [(e.step, e.encoded_image_string) for e in found.Images("i")] == [(1, data)]
    assert [(e.step, e.tensor_proto.string_val[:]) for e in found.Tensors("t")] == [(2, [b"long text"])]
    (histogram,) = found.Histograms("h")
    assert histogram.histogram_value.bucket_limit == [0.0, 3.0]
    assert histogram.histogram_value.bucket == [1.0, 2.0]
    assert (histogram.histogram_value.min, histogram.histogram_value.max) == (-1.0, 3.0)
    assert (histogram.histogram_value.num, histogram.histogram_value.sum) == (3, 2.5)
    assert [e.histogram_value.num for e in found.Histograms("empty")] == [0]


def test_a_redelivery_is_written_once(receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, read_run: Any) -> None:
    records = metrics(range(10))
    feed(receiver, records[:6])
    feed(receiver, records[4:], first=4)
    feed(receiver, records[:3], stream="f" * 32)
    feed(opened(run), records)
    found = read_run(run.folder / "tb_events/site-1").Scalars("loss")
    assert [e.step for e in found] == list(range(10))
    again = read_run(run.folder / "tb_events/site-1/pass-2").Scalars("loss")
    assert [e.step for e in again] == [0, 1, 2]


def test_parameters_are_shown_also_when_a_process_was_killed_before_the_flush(
    receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed
) -> None:
    feed(receiver, [Param(NOW, "lr", 0.5)])
    folder = run.folder / "tb_events/site-1"
    (folder / ".hparams").write_text("torn")
    second = opened(run)
    feed(second, [Param(NOW, "lr", 0.5)])
    second.flush()
    shown = folder / "events.out.tfevents.00000000.hparams"
    written = shown.stat().st_ino
    second.flush()
    assert shown.stat().st_ino == written
    feed(second, [Param(NOW, "lr", 0.25)], first=1)
    second.flush()
    assert shown.stat().st_ino != written
    assert not (folder / ".hparams").exists()


def test_a_damaged_record_is_named_and_the_others_are_written_once(
    receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, read_run: Any
) -> None:
    lost = Text(NOW, "t", BlobRef("0" * 64, 5), 0)
    records = [*metrics([1]), lost, *metrics([2])]
    for each in (receiver, receiver, opened(run)):
        with pytest.raises(Permanent, match="missing") as error:
            feed(each, records)
        assert error.value.indices == (1,)
    assert [e.step for e in read_run(run.folder / "tb_events/site-1").Scalars("loss")] == [1, 2]


def test_a_round_as_step_is_one_curve_that_is_explained_once(
    receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, read_run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    steps = [round for round in range(3) for _ in range(20)]
    feed(receiver, metrics(steps[:30]))
    feed(opened(run), metrics(steps[30:]), first=30)
    assert [e.step for e in read_run(run.folder / "tb_events/site-1").Scalars("loss")] == list(range(60))
    assert not (run.folder / "tb_events/site-1/pass-2").exists()
    said = [record.message for record in caplog.records if "several points at step" in record.message]
    assert said[0].endswith("For an x axis of batches log step = round * steps_per_round + step_in_round")
    assert len(said) == 2  # once by each receiver


def test_steps_from_0_in_each_round_are_explained(
    receiver: TBAnalyticsReceiver, feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        feed(receiver, metrics([*range(5)] * 4))
    said = [record for record in caplog.records if 'steps="continue"' in record.message]
    assert [record.levelname for record in said] == ["INFO", "WARNING"]


def test_the_servers_scalars_do_not_share_a_tag_with_the_sites(
    receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, read_run: Any
) -> None:
    feed(receiver, [*metrics([0, 1]), Metric(NOW, "round/seconds", 1.0, 0)], site="server")
    feed(opened(run), metrics([2]), site="server", first=3)
    shown = read_run(run.folder / "tb_events/server")
    assert sorted(shown.Tags()["scalars"]) == ["global/loss", "round/seconds"]
    assert [event.step for event in shown.Scalars("global/loss")] == [0, 1, 2]


def test_text_that_looks_like_a_number_stays_text_among_the_hyperparameters(
    receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed
) -> None:
    params = [Param(NOW, "seed", "007"), Param(NOW, "lr", 0.5), Param(NOW, "amp", True), Param(NOW, "flag", "True")]
    feed(receiver, params[:2])
    again = opened(run)
    feed(again, params[2:], first=2)
    again.flush()
    assert hyperparameters(run.folder / "tb_events/site-1") == {"seed": "007", "lr": 0.5, "amp": True, "flag": "True"}


def hyperparameters(folder: Path) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    (file,) = folder.glob("*.hparams")
    for event in LegacyEventFileLoader(str(file)).Load():
        for value in event.summary.value:
            data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
            if data.HasField("session_start_info"):
                found = data.session_start_info.hparams
                return {key: getattr(item, item.WhichOneof("kind")) for key, item in found.items()}
    raise AssertionError("no hyperparameters")


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a//b", "a/./b", "a\0b", "x" * 300])
def test_an_artifact_stays_in_its_folder(receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, path: str) -> None:
    good = Artifact(NOW, "model/weights.bin", b"1")
    with pytest.raises(Permanent) as error:
        feed(receiver, [Artifact(NOW, path, b"evil"), good])
    assert error.value.indices == (0,)
    files = [file for file in run.folder.rglob("*") if file.is_file() and b"evil" in file.read_bytes()]
    assert not files
    assert (run.folder / "tb_events/site-1/artifacts/model/weights.bin").read_bytes() == b"1"


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Refuse to let files grow beyond ``limit`` bytes, as a full disk does: with a short write first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_and_doubles_nothing(
    receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, read_run: Any
) -> None:
    records = metrics(range(2000))
    feed(receiver, records[:500])
    with file_size_limit(20_001):
        for _ in range(2):
            with pytest.raises(Transient, match=r"site-1 cannot be written: .*too large"):
                feed(receiver, records)
    feed(receiver, records)
    found = read_run(run.folder / "tb_events/site-1").Scalars("loss")
    assert [e.step for e in found] == list(range(2000))


def test_a_full_disk_leaves_no_empty_files(receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed) -> None:
    with file_size_limit(0):
        for _ in range(3):
            with pytest.raises(Transient):
                feed(receiver, metrics([1]))
    assert list((run.folder / "tb_events/site-1").iterdir()) == []


@pytest.mark.parametrize("deleted", ["site-1/events.out.tfevents.00000001.fedtrack", "site-1"])
def test_what_was_deleted_begins_again(
    receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed, read_run: Any, deleted: str
) -> None:
    feed(receiver, metrics([1]))
    folder = run.folder / "tb_events"
    (folder / deleted).rename(run.folder / "moved")
    with pytest.raises(Transient):
        feed(receiver, metrics([2]), first=1)
    feed(receiver, metrics([2]), first=1)
    assert [e.step for e in read_run(folder / "site-1").Scalars("loss")] == [2]
    feed(opened(run), metrics([2]), first=1)
    assert [e.step for e in read_run(folder / "site-1").Scalars("loss")] == [2]


def test_a_folder_that_cannot_be_created_is_tried_again(run: RunInfo) -> None:
    (run.folder / "tb_events").write_text("in the way")
    receiver = TBAnalyticsReceiver()
    with pytest.raises(Transient, match="tb_events cannot be created"):
        receiver.open(run)
    (run.folder / "tb_events").unlink()
    receiver.open(run)
    receiver.close("failed")
    receiver.close("failed")


def test_results_name_the_folder_and_the_command(run: RunInfo, tmp_path: Path) -> None:
    receiver = TBAnalyticsReceiver(str(tmp_path / "with space"))
    receiver.open(run)
    results = receiver.results()
    assert results.location == str(tmp_path / "with space")
    assert results.command == f"tensorboard --logdir '{tmp_path}/with space'"


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_sites_name_is_never_a_path_and_always_its_own(one: str, other: str) -> None:
    name = folder_name(one)
    assert "/" not in name
    assert "\0" not in name
    assert 0 < len(name) <= 200
    assert not name.startswith(".")
    assert (name == folder_name(other)) == (one == other)


@pytest.mark.threat("T3")
def test_a_hostile_site_stays_in_the_folder(receiver: TBAnalyticsReceiver, run: RunInfo, feed: Feed) -> None:
    for site in ("..", ".", "../../up", "/etc", "a/b", "", "x" * 300):
        feed(receiver, metrics([1]), site=site)
    assert len(list((run.folder / "tb_events").iterdir())) == 7
    assert {path.name for path in run.folder.iterdir()} == {"tb_events"}
